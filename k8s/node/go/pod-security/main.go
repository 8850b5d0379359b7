// pod-security reads a JSON list of Kubernetes objects on stdin and prints one line of JSON for each way in which a pod of
// theirs breaks the level "restricted", as the API server's own admission plugin sees it. No line: all of them pass.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// violation is one line of the output.
type violation struct {
	Object string `json:"object"`
	Reason string `json:"reason"`
	Detail string `json:"detail"`
}

// object is what the kinds that make pods have in common: a template in the spec, under a job's in a CronJob.
type object struct {
	Kind     string            `json:"kind"`
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     json.RawMessage   `json:"spec"`
}

type spec struct {
	Template    *corev1.PodTemplateSpec `json:"template"`
	JobTemplate *struct {
		Spec spec `json:"spec"`
	} `json:"jobTemplate"`
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	var objects []object
	if err := json.NewDecoder(in).Decode(&objects); err != nil {
		return fmt.Errorf("stdin is not a JSON list of objects: %w", err)
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks())
	if err != nil {
		return err
	}
	restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	for _, object := range objects {
		name := object.Kind + "/" + object.Metadata.Name
		pod, err := podOf(object)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if pod == nil {
			continue
		}
		for _, result := range evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec) {
			if result.Allowed {
				continue
			}
			if err := lines.Encode(violation{name, result.ForbiddenReason, result.ForbiddenDetail}); err != nil {
				return err
			}
		}
	}
	return nil
}

// podOf returns the pod that an object is or makes, nil where it makes none.
func podOf(object object) (*corev1.PodTemplateSpec, error) {
	switch object.Kind {
	case "Pod":
		pod := &corev1.PodTemplateSpec{ObjectMeta: object.Metadata}
		return pod, json.Unmarshal(object.Spec, &pod.Spec)
	case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob":
		var workload spec
		if err := json.Unmarshal(object.Spec, &workload); err != nil {
			return nil, err
		}
		if workload.JobTemplate != nil {
			workload = workload.JobTemplate.Spec
		}
		if workload.Template == nil {
			return nil, fmt.Errorf("it has no pod template")
		}
		return workload.Template, nil
	}
	return nil, nil
}
