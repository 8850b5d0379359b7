package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

func TestTheConfigurationNamesThePartOfThisNode(t *testing.T) {
	folder := t.TempDir()
	if err := write(folder, plugins("10.244.1.0/24", 1500)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	var read struct {
		Plugins []struct {
			Type string
			Mtu  int
			Ipam struct{ Ranges [][]struct{ Subnet string } }
		}
	}
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	bridge := read.Plugins[0]
	if bridge.Type != "bridge" || bridge.Mtu != 1500 || bridge.Ipam.Ranges[0][0].Subnet != "10.244.1.0/24" {
		t.Errorf("%s", text)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 1 {
		t.Errorf("%v %v: what is half written must not stay", left, err)
	}
}
