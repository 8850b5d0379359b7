package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	core "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v11/controller"
)

func TestAVolumeIsAFolderThatGoesWithIt(t *testing.T) {
	policy := core.PersistentVolumeReclaimDelete
	own := provisioner{t.TempDir(), "todo-m02"}
	volume, _, err := own.Provision(context.Background(), controller.ProvisionOptions{
		StorageClass: &storage.StorageClass{ReclaimPolicy: &policy},
		PVName:       "pvc-1",
		PVC:          &core.PersistentVolumeClaim{ObjectMeta: meta.ObjectMeta{Namespace: "todo", Name: "data"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(own.folder, "todo", "data")
	if about, err := os.Stat(path); err != nil || about.Mode().Perm() != mode || volume.Spec.HostPath.Path != path {
		t.Fatal(about, err, volume.Spec.HostPath)
	}
	affinity := volume.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0]
	if affinity.Key != "kubernetes.io/hostname" || affinity.Values[0] != "todo-m02" {
		t.Fatal("whoever uses it may run elsewhere", affinity)
	}
	if err := own.Delete(context.Background(), volume); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Fatal("the folder is still there", err)
	}
}

func TestNothingElseIsRemoved(t *testing.T) {
	folder := t.TempDir()
	for _, path := range []string{"/etc", folder, folder + "/..", folder + "/todo", folder + "/../etc/a"} {
		if isBelow(folder, path) {
			t.Error(path)
		}
	}
	if !isBelow(folder, folder+"/todo/data") {
		t.Error("a claim's folder is one")
	}
}
