package main

import (
	"reflect"
	"testing"
)

func TestOptionsAreReadInBothSpellings(t *testing.T) {
	got := parse([]string{"ps", "-a", "--quiet", "--name=kube-apiserver", "--label", "a=b", "--state", "Running", "--timeout=10s"})
	want := call{words: []string{"ps"}, labels: map[string]string{"a": "b"}, state: "running", name: "kube-apiserver", quiet: true}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := parse([]string{"rmi", "x:1", "y:2"}); !reflect.DeepEqual(got.words, []string{"rmi", "x:1", "y:2"}) {
		t.Errorf("got %q", got.words)
	}
}
