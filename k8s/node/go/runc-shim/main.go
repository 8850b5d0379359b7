// runc-shim stands before runc on machines that withhold what container specs take for granted.
//
// It edits the OCI spec (or the process document of an exec) in place and then becomes runc:
//   - CAP_SYS_RESOURCE leaves every capability set, as runc fails when the bounding set lacks it;
//   - a negative oomScoreAdj becomes 0 and RLIMIT_NOFILE is clamped to the caller's hard limit, as
//     raising either needs that capability;
//   - under the name runc-cgroupns it also gives every container a cgroup namespace of its own. On
//     cgroup v1, docker lets privileged containers share the host's, and a systemd in one would
//     then write into the host's hierarchy.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

type object = map[string]any

func main() {
	limit := hardFileLimit()
	ownCgroups := filepath.Base(os.Args[0]) == "runc-cgroupns"
	if bundle := option("--bundle", "-b"); bundle != "" {
		edit(filepath.Join(bundle, "config.json"), func(spec object) {
			if process, ok := spec["process"].(object); ok {
				relax(process, limit)
			}
			if linux, ok := spec["linux"].(object); ok && ownCgroups {
				addCgroupNamespace(linux)
			}
		})
	}
	if process := option("--process", "-p"); process != "" {
		edit(process, func(document object) { relax(document, limit) })
	}
	for _, runc := range []string{"/usr/sbin/runc", "/usr/bin/runc", "/sbin/runc", "/usr/local/bin/runc"} {
		if _, err := os.Stat(runc); err == nil {
			fail(syscall.Exec(runc, append([]string{"runc"}, os.Args[1:]...), os.Environ()))
		}
	}
	fail(fmt.Errorf("no runc in /usr/sbin, /usr/bin, /sbin or /usr/local/bin"))
}

func option(long, short string) string {
	for i, argument := range os.Args {
		if (argument == long || argument == short) && i+1 < len(os.Args) {
			return os.Args[i+1]
		}
		if value, ok := strings.CutPrefix(argument, long+"="); ok {
			return value
		}
	}
	return ""
}

// edit rewrites a JSON document through a temporary file beside it; one that is absent is left to runc to report.
func edit(path string, change func(object)) {
	text, err := os.ReadFile(path)
	if err != nil {
		return
	}
	var document object
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber()
	if decoder.Decode(&document) != nil {
		return
	}
	change(document)
	text, err = json.Marshal(document)
	fail(err)
	temporary := path + ".shim"
	fail(os.WriteFile(temporary, text, 0o600))
	fail(os.Rename(temporary, path))
}

func relax(process object, limit uint64) {
	if sets, ok := process["capabilities"].(object); ok {
		for name, set := range sets {
			if list, ok := set.([]any); ok {
				sets[name] = without(list, "CAP_SYS_RESOURCE")
			}
		}
	}
	if score, ok := process["oomScoreAdj"].(json.Number); ok && strings.HasPrefix(score.String(), "-") {
		process["oomScoreAdj"] = 0
	}
	limits, _ := process["rlimits"].([]any)
	for _, entry := range limits {
		if rlimit, ok := entry.(object); ok && rlimit["type"] == "RLIMIT_NOFILE" {
			for _, side := range []string{"hard", "soft"} {
				rlimit[side] = clamp(rlimit[side], limit)
			}
		}
	}
}

func without(list []any, unwanted string) []any {
	kept := []any{}
	for _, entry := range list {
		if entry != unwanted {
			kept = append(kept, entry)
		}
	}
	return kept
}

func clamp(value any, limit uint64) any {
	var number uint64
	if _, err := fmt.Sscan(fmt.Sprint(value), &number); err == nil && number > limit {
		return limit
	}
	return value
}

func addCgroupNamespace(linux object) {
	namespaces, _ := linux["namespaces"].([]any)
	for _, entry := range namespaces {
		if namespace, ok := entry.(object); ok && namespace["type"] == "cgroup" {
			return
		}
	}
	linux["namespaces"] = append(namespaces, object{"type": "cgroup"})
}

func hardFileLimit() uint64 {
	var limit syscall.Rlimit
	fail(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	return limit.Max
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "runc-shim:", err)
		os.Exit(1)
	}
}
