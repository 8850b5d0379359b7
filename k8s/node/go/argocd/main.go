// Argo CD for the end-to-end test, as two processes beside the cluster: its own repo-server and application-controller, without
// its API server and page, and with a Redis in memory, which it keeps nothing in but caches.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/alicebob/miniredis/v2"
	controller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	reposerver "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
	"github.com/spf13/cobra"
)

func main() {
	root := &cobra.Command{Use: "argocd", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(named(reposerver.NewCommand(), "repo-server"), named(controller.NewCommand(), "application-controller"), redis())
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func named(command *cobra.Command, name string) *cobra.Command {
	command.Use = name
	return command
}

// Runs until it is ended.
func redis() *cobra.Command {
	return &cobra.Command{
		Use:  "redis ADDRESS",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, arguments []string) error {
			if err := miniredis.NewMiniRedis().StartAddr(arguments[0]); err != nil {
				return errors.Join(errors.New("redis cannot listen"), err)
			}
			select {}
		},
	}
}
