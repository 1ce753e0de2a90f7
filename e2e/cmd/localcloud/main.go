// Command localcloud starts a local cloud and stays until it is interrupted.
// What it leaves in --dir, and how to put a program into it, is in e2e/README.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/org/deploy-model-action/e2e/controlplane"
	"github.com/org/deploy-model-action/e2e/localcloud"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var o localcloud.Options
	flag.StringVar(&o.Dir, "dir", "", "folder for the cloud's files (required)")
	flag.StringVar(&o.Listen, "listen", "127.0.0.1:0", "address of the forward proxy")
	flag.DurationVar(&o.TokenLifetime, "token-lifetime", time.Hour, "how long an access token is good for")
	build := flag.Bool("build", false, "build the control plane and stop")
	flag.Parse()
	o.Log = os.Stderr
	if *build {
		_, err := controlplane.Build(ctx, "controlplane", os.Stderr)
		return err
	}
	if o.Dir == "" {
		return fmt.Errorf("--dir: required; name a folder for the cloud's files")
	}
	start := time.Now()
	cloud, err := localcloud.Start(ctx, o)
	if err != nil {
		return err
	}
	defer cloud.Close()
	fmt.Printf("local cloud ready in %s: proxy %s, files in %s\n", time.Since(start).Round(100*time.Millisecond), cloud.Proxy.URL, cloud.Dir)
	<-ctx.Done()
	return nil
}
