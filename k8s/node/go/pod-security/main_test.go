package main

import (
	"bytes"
	"strings"
	"testing"
)

const good = `{"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}, "containers": [
	{"name": "a", "image": "a", "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]}`

func checked(t *testing.T, objects string) string {
	t.Helper()
	var out bytes.Buffer
	if err := run(strings.NewReader(objects), &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestWhatPassesIsSilent(t *testing.T) {
	objects := `[{"kind": "Service", "metadata": {"name": "s"}, "spec": {"selector": {"a": "b"}}},
		{"kind": "Pod", "metadata": {"name": "p"}, "spec": ` + good + `},
		{"kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": {"spec": ` + good + `}}}]`
	if got := checked(t, objects); got != "" {
		t.Errorf("got %s", got)
	}
}

func TestEveryKindThatMakesPodsIsSeen(t *testing.T) {
	bad := strings.Replace(good, `"runAsNonRoot": true`, `"hostUsers": true`, 1)
	template := `{"template": {"spec": ` + bad + `}}`
	for kind, spec := range map[string]string{
		"Pod":         bad,
		"Deployment":  template,
		"StatefulSet": template,
		"DaemonSet":   template,
		"Job":         template,
		"CronJob":     `{"jobTemplate": {"spec": ` + template + `}}`,
	} {
		got := checked(t, `[{"kind": "`+kind+`", "metadata": {"name": "x"}, "spec": `+spec+`}]`)
		want := `{"object":"` + kind + `/x","reason":"runAsNonRoot != true"`
		if !strings.HasPrefix(got, want) || strings.Count(got, "\n") != 1 {
			t.Errorf("got %q, want one line that begins with %s", got, want)
		}
	}
}

func TestEachViolationIsALineOfItsOwn(t *testing.T) {
	got := checked(t, `[{"kind": "Pod", "metadata": {"name": "x"}, "spec": {"hostNetwork": true, "containers": [{"name": "a", "image": "a"}]}}]`)
	for _, reason := range []string{"host namespaces", "allowPrivilegeEscalation != false", "unrestricted capabilities", "seccompProfile"} {
		if !strings.Contains(got, `"reason":"`+reason) {
			t.Errorf("%s is not in %s", reason, got)
		}
	}
}

func TestWhatIsNoListIsAnError(t *testing.T) {
	if err := run(strings.NewReader(`{"kind": "Pod"}`), &bytes.Buffer{}); err == nil {
		t.Error("an object alone was taken for a list")
	}
}
