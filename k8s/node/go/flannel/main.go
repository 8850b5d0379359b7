// Routes between the nodes of one docker network by flannel's backend host-gw, for clusters of more than one node. It is
// flannel's own packages without the backends for clouds, and it writes the configuration of the CNI plugins itself, which
// is what flannel's own plugin would do for each pod.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/flannel-io/flannel/pkg/backend"
	_ "github.com/flannel-io/flannel/pkg/backend/hostgw"
	"github.com/flannel-io/flannel/pkg/ip"
	"github.com/flannel-io/flannel/pkg/ipmatch"
	"github.com/flannel-io/flannel/pkg/subnet/kube"
	"github.com/flannel-io/flannel/pkg/trafficmngr/iptables"
)

const (
	// Where flannel notes a node's address, as annotations of the node.
	prefix = "flannel.alpha.coreos.com"
	// After how many seconds rules of iptables are put back that others have removed.
	resync = 5
	name = "10-flannel.conflist"
)

func main() {
	network := flag.String("net-config-path", "/etc/flannel/net-conf.json", "the network of all pods, and the backend")
	folder := flag.String("cni-folder", "/etc/cni/net.d", "where containerd looks for the plugins' configuration")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *network, *folder); err != nil {
		log.Fatal(err)
	}
}

// run gives this node a part of the pods' network and keeps the routes to the other nodes until it is ended.
func run(ctx context.Context, network, folder string) error {
	manager, err := kube.NewSubnetManager(ctx, "", "", prefix, network, true)
	if err != nil {
		return err
	}
	wanted, err := manager.GetNetworkConfig(ctx)
	if err != nil {
		return err
	}
	stack, err := ipmatch.GetIPFamily(wanted.EnableIPv4, wanted.EnableIPv6)
	if err != nil {
		return err
	}
	outside, err := ipmatch.LookupExtIface("", "", "", stack, ipmatch.PublicIPOpts{})
	if err != nil {
		return err
	}
	chosen, err := backend.NewManager(ctx, manager, outside).GetBackend(wanted.BackendType)
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	nodes, err := chosen.RegisterNetwork(ctx, &running, wanted)
	if err != nil {
		return err
	}
	traffic := &iptables.IPTablesManager{}
	if err := traffic.Init(ctx); err != nil {
		return err
	}
	none, none6 := ip.IP4Net{}, ip.IP6Net{}
	err = traffic.SetupAndEnsureMasqRules(
		ctx, wanted.Network, none, none, wanted.IPv6Network, none6, none6, nodes.Lease(), resync, false,
	)
	if err != nil {
		return err
	}
	traffic.SetupAndEnsureForwardRules(ctx, wanted.Network, wanted.IPv6Network, resync)
	if err := write(folder, plugins(nodes.Lease().Subnet.String(), nodes.MTU())); err != nil {
		return err
	}
	log.Printf("pods of this node have addresses of %s", nodes.Lease().Subnet)
	running.Add(1)
	go func() {
		nodes.Run(ctx)
		running.Done()
	}()
	err = manager.CompleteLease(ctx, nodes.Lease(), &running)
	if err == nil {
		running.Wait()
	}
	return err
}

// plugins is what containerd calls for each pod: a bridge with addresses of this node's part, and ports of the node.
func plugins(subnet string, mtu int) map[string]any {
	return map[string]any{
		"cniVersion": "0.4.0",
		"name":       "flannel",
		"plugins": []map[string]any{
			{
				"type": "bridge", "bridge": "cni0", "mtu": mtu, "isDefaultGateway": true, "hairpinMode": true,
				"ipam": map[string]any{"type": "host-local", "ranges": [][]map[string]string{{{"subnet": subnet}}}},
			},
			{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}},
		},
	}
}

// write makes the file at one blow: containerd reads the folder whenever something in it changes.
func write(folder string, config map[string]any) error {
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	fresh := filepath.Join(folder, "."+name)
	if err := os.WriteFile(fresh, append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(fresh, filepath.Join(folder, name))
}
