package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

func TestRelaxTakesOutWhatTheMachineWithholds(t *testing.T) {
	process := object{
		"capabilities": object{"bounding": []any{"CAP_CHOWN", "CAP_SYS_RESOURCE"}},
		"oomScoreAdj":  json.Number("-998"),
		"rlimits":      []any{object{"type": "RLIMIT_NOFILE", "hard": json.Number("1048576"), "soft": json.Number("1024")}},
	}
	relax(process, 20000)
	got, _ := json.Marshal(process)
	want := `{"capabilities":{"bounding":["CAP_CHOWN"]},"oomScoreAdj":0,"rlimits":[{"hard":20000,"soft":1024,"type":"RLIMIT_NOFILE"}]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestEditKeepsLargeNumbersAndAddsOneNamespace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(`{"linux":{"namespaces":[{"type":"pid"}],"limit":9223372036854771712}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		edit(path, func(spec object) { addCgroupNamespace(spec["linux"].(object)) })
	}
	got, _ := os.ReadFile(path)
	want := `{"linux":{"limit":9223372036854771712,"namespaces":[{"type":"pid"},{"type":"cgroup"}]}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
