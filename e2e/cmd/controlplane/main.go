// Command controlplane is a real Kubernetes control plane in one process: etcd,
// kube-apiserver, kube-controller-manager and kube-scheduler from k8s.io/kubernetes.
//
// It is a program of its own, not a part of cmd/localcloud, because compiling it
// takes minutes the first time: whoever builds it can say so before it starts.
// It decides nothing: every flag of every component comes from its caller, as a
// JSON document on standard input. It stops when standard input is closed, so
// that it cannot outlive its caller, or on SIGINT or SIGTERM.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "time/tzdata" // CronJobs name time zones; a test machine may have no zone files

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	logsapi "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

// config is one line of JSON on standard input.
type config struct {
	EtcdURL           string   `json:"etcd_url"`
	EtcdDir           string   `json:"etcd_dir"`
	Kubeconfig        string   `json:"kubeconfig"` // of someone who may read /readyz
	APIServer         []string `json:"api_server"`
	ControllerManager []string `json:"controller_manager"`
	Scheduler         []string `json:"scheduler"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stdin io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	input := bufio.NewReader(stdin)
	line, err := input.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("configuration on standard input: %w", err)
	}
	var c config
	if err := json.Unmarshal(line, &c); err != nil {
		return fmt.Errorf("configuration on standard input: %w", err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, input)
		cancel()
	}()

	// Each component applies its logging flags to the one process.
	logsapi.ReapplyHandling = logsapi.ReapplyHandlingIgnoreUnchanged
	api, err := startAPIServer(c.APIServer)
	if err != nil {
		return err
	}
	manager, err := startControllerManager(c.ControllerManager)
	if err != nil {
		return err
	}
	sched, err := startScheduler(c.Scheduler)
	if err != nil {
		return err
	}

	errs := make(chan error, 4)
	start := func(f func(context.Context) error) { go func() { errs <- f(ctx) }() }
	start(func(ctx context.Context) error { return runEtcd(ctx, c.EtcdURL, c.EtcdDir) })
	start(api)
	start(whenReady(c.Kubeconfig, manager))
	start(whenReady(c.Kubeconfig, sched))
	err = <-errs
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// whenReady starts a component that cannot wait for the API server by itself.
func whenReady(kubeconfig string, f func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
		if err != nil {
			return fmt.Errorf("kubeconfig %q: %w", kubeconfig, err)
		}
		client, err := kubernetes.NewForConfig(c)
		if err != nil {
			return fmt.Errorf("kubeconfig %q: %w", kubeconfig, err)
		}
		for client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() != nil {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(20 * time.Millisecond):
			}
		}
		return f(ctx)
	}
}
