// The External Secrets operator for the end-to-end test, as a process beside the cluster: its own controllers of ClusterSecretStores
// and ExternalSecrets, with the one provider whose values stand in the store's own object. The command that it is published as is for
// all providers, of whose modules some are not to be had.
package main

import (
	"flag"
	"log"
	"time"

	esv1 "github.com/external-secrets/external-secrets/apis/externalsecrets/v1"
	generators "github.com/external-secrets/external-secrets/apis/generators/v1alpha1"
	"github.com/external-secrets/external-secrets/pkg/controllers/externalsecret"
	"github.com/external-secrets/external-secrets/pkg/controllers/externalsecret/esmetrics"
	ctrlmetrics "github.com/external-secrets/external-secrets/pkg/controllers/metrics"
	"github.com/external-secrets/external-secrets/pkg/controllers/secretstore"
	"github.com/external-secrets/external-secrets/pkg/controllers/secretstore/cssmetrics"
	_ "github.com/external-secrets/external-secrets/pkg/provider/fake"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

const (
	class    = "default"
	interval = 10 * time.Second
)

func main() {
	// The client of Kubernetes has a flag of its own, --kubeconfig.
	flag.Parse()
	ctrl.SetLogger(zap.New())
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, esv1.AddToScheme, generators.AddToScheme} {
		utilruntime.Must(add(scheme))
	}
	ctrlmetrics.SetUpLabelNames(false)
	esmetrics.SetUpMetrics()
	cssmetrics.SetUpMetrics()
	// What reads its metrics is not there.
	options := ctrl.Options{Scheme: scheme, Metrics: server.Options{BindAddress: "0"}}
	manager, err := ctrl.NewManager(ctrl.GetConfigOrDie(), options)
	if err != nil {
		log.Fatal(err)
	}
	stores := &secretstore.ClusterStoreReconciler{
		Client: manager.GetClient(), Log: ctrl.Log.WithName("stores"), Scheme: scheme, ControllerClass: class, RequeueInterval: interval,
	}
	secrets := &externalsecret.Reconciler{
		Client: manager.GetClient(), SecretClient: manager.GetClient(), Log: ctrl.Log.WithName("secrets"), Scheme: scheme,
		RestConfig: manager.GetConfig(), ControllerClass: class, RequeueInterval: interval, ClusterSecretStoreEnabled: true,
	}
	if err := stores.SetupWithManager(manager, controller.Options{}); err != nil {
		log.Fatal(err)
	}
	if err := secrets.SetupWithManager(manager, controller.Options{}); err != nil {
		log.Fatal(err)
	}
	if err := manager.Start(ctrl.SetupSignalHandler()); err != nil {
		log.Fatal(err)
	}
}
