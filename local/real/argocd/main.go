// The parts of Argo CD that make and sync Applications, in one program, built from its published Go module.
//
// Like the program of Argo CD's own images it is called by several names; `kustomize`, which its repo server runs, is one
// more. `argocd-read-secret` is ours: it reads cluster Secrets (JSON, one after the other) by Argo CD's parser and prints what
// that makes of each, one a line.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	controller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	applicationset "github.com/argoproj/argo-cd/v3/cmd/argocd-applicationset-controller/commands"
	k8sauth "github.com/argoproj/argo-cd/v3/cmd/argocd-k8s-auth/commands"
	reposerver "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
	"github.com/argoproj/argo-cd/v3/util/db"
	"github.com/argoproj/argo-cd/v3/util/log"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	kustomize "sigs.k8s.io/kustomize/kustomize/v5/commands"
)

func init() {
	klog.SetLogger(log.NewLogrusLogger(log.NewWithCurrentConfig()))
}

func main() {
	commands := map[string]func() *cobra.Command{
		"argocd-application-controller":    controller.NewCommand,
		"argocd-applicationset-controller": applicationset.NewCommand,
		"argocd-k8s-auth":                  k8sauth.NewCommand,
		"argocd-read-secret":               readSecret,
		"argocd-repo-server":               reposerver.NewCommand,
		"kustomize":                        kustomize.NewDefaultCommand,
	}
	command, known := commands[filepath.Base(os.Args[0])]
	if !known {
		fmt.Fprintln(os.Stderr, "call it by the name of one of Argo CD's parts")
		os.Exit(2)
	}
	if command().Execute() != nil {
		os.Exit(1)
	}
}

func readSecret() *cobra.Command {
	return &cobra.Command{
		Use:          "argocd-read-secret",
		SilenceUsage: true,
		RunE: func(command *cobra.Command, _ []string) error {
			secrets := json.NewDecoder(command.InOrStdin())
			clusters := json.NewEncoder(command.OutOrStdout())
			for {
				var secret corev1.Secret
				if err := secrets.Decode(&secret); errors.Is(err, io.EOF) {
					return nil
				} else if err != nil {
					return err
				}
				cluster, err := db.SecretToCluster(&secret)
				if err != nil {
					return err
				}
				if err := clusters.Encode(cluster); err != nil {
					return err
				}
			}
		},
	}
}
