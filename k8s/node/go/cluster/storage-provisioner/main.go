// Makes a volume of a folder of the node for each claim, as minikube's own provisioner does, under the same name and in
// the same place. It removes a volume whoever made it: minikube's leaves what it made before it was last started. Whoever
// uses a volume runs on the node that has it: minikube's would let them begin anew on another.
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v11/controller"
)

const (
	name   = "k8s.io/minikube-hostpath"
	folder = "/tmp/hostpath-provisioner"
)

// Whoever runs in a pod may write into its own volume.
const mode = 0o777

type provisioner struct{ folder, node string }

func main() {
	// The pod has the node's own network, and with it the node's name.
	node, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		log.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// Minikube runs one, and lets it have no Lease.
	alone := controller.LeaderElection(false)
	controller.NewProvisionController(ctx, client, name, provisioner{folder, node}, alone).Run(ctx)
}

func (p provisioner) Provision(_ context.Context, options controller.ProvisionOptions) (
	*core.PersistentVolume, controller.ProvisioningState, error,
) {
	claim := options.PVC
	path := filepath.Join(p.folder, claim.Namespace, claim.Name)
	if err := os.MkdirAll(path, mode); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	// MkdirAll minds the umask.
	if err := os.Chmod(path, mode); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	volume := core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: options.PVName},
		Spec: core.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			AccessModes:                   claim.Spec.AccessModes,
			Capacity:                      core.ResourceList{core.ResourceStorage: claim.Spec.Resources.Requests[core.ResourceStorage]},
			PersistentVolumeSource:        core.PersistentVolumeSource{HostPath: &core.HostPathVolumeSource{Path: path}},
			NodeAffinity:                  p.here(),
		},
	}
	return &volume, controller.ProvisioningFinished, nil
}

// here is the node that has the folder.
func (p provisioner) here() *core.VolumeNodeAffinity {
	named := core.NodeSelectorRequirement{Key: core.LabelHostname, Operator: core.NodeSelectorOpIn, Values: []string{p.node}}
	term := core.NodeSelectorTerm{MatchExpressions: []core.NodeSelectorRequirement{named}}
	return &core.VolumeNodeAffinity{Required: &core.NodeSelector{NodeSelectorTerms: []core.NodeSelectorTerm{term}}}
}

func (p provisioner) Delete(_ context.Context, volume *core.PersistentVolume) error {
	source := volume.Spec.HostPath
	if source == nil || !isBelow(p.folder, source.Path) {
		return errors.New("it has no folder below " + p.folder)
	}
	return os.RemoveAll(source.Path)
}

// isBelow tells whether a path is that of a claim: two names below the folder.
func isBelow(folder, path string) bool {
	inner, err := filepath.Rel(folder, path)
	return err == nil && filepath.IsLocal(inner) && filepath.Dir(inner) != "."
}
