package main

import (
	"context"
	"fmt"
	"net/url"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/embed"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	cliflag "k8s.io/component-base/cli/flag"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	apiserveroptions "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	controllermanageroptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	scheduleroptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"
)

// parse reads a component's flags. The components' cobra commands are not used:
// each installs the process's one signal handler, and the second one panics.
func parse(name string, sets cliflag.NamedFlagSets, args []string) error {
	flags := pflag.NewFlagSet(name, pflag.ContinueOnError)
	for _, set := range sets.FlagSets {
		flags.AddFlagSet(set)
	}
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%s: flags: %w", name, err)
	}
	return nil
}

func runEtcd(ctx context.Context, clientURL, dir string) error {
	client, err := url.Parse(clientURL)
	if err != nil {
		return fmt.Errorf("etcd: url %q: %w", clientURL, err)
	}
	config := embed.NewConfig()
	// Nothing here outlives the process, so waiting for the disk buys nothing.
	config.Dir, config.UnsafeNoFsync, config.LogLevel = dir, true, "error"
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	config.ListenPeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	server, err := embed.StartEtcd(config)
	if err != nil {
		return fmt.Errorf("etcd: start: %w", err)
	}
	defer server.Close()
	select {
	case <-ctx.Done():
		return nil
	case err := <-server.Err():
		return fmt.Errorf("etcd: %w", err)
	}
}

func startAPIServer(args []string) (func(context.Context) error, error) {
	options := apiserveroptions.NewServerRunOptions()
	if err := parse("kube-apiserver", options.Flags(), args); err != nil {
		return nil, err
	}
	if err := options.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return nil, fmt.Errorf("kube-apiserver: feature gates: %w", err)
	}
	return func(ctx context.Context) error {
		completed, err := options.Complete(ctx)
		if err != nil {
			return fmt.Errorf("kube-apiserver: %w", err)
		}
		if errs := completed.Validate(); len(errs) > 0 {
			return fmt.Errorf("kube-apiserver: %w", utilerrors.NewAggregate(errs))
		}
		return apiserver.Run(ctx, completed)
	}, nil
}

func startControllerManager(args []string) (func(context.Context) error, error) {
	options, err := controllermanageroptions.NewKubeControllerManagerOptions()
	if err != nil {
		return nil, fmt.Errorf("kube-controller-manager: %w", err)
	}
	known := controllermanager.KnownControllers()
	disabled, aliases := controllermanager.ControllersDisabledByDefault(), controllermanager.ControllerAliases()
	sets := options.Flags(known, disabled, aliases)
	options.ParsedFlags = &sets
	if err := parse("kube-controller-manager", sets, args); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		config, err := options.Config(ctx, known, disabled, aliases)
		if err != nil {
			return fmt.Errorf("kube-controller-manager: %w", err)
		}
		return controllermanager.Run(ctx, config.Complete())
	}, nil
}

func startScheduler(args []string) (func(context.Context) error, error) {
	options := scheduleroptions.NewOptions()
	if err := parse("kube-scheduler", *options.Flags, args); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		config, sched, err := scheduler.Setup(ctx, options)
		if err != nil {
			return fmt.Errorf("kube-scheduler: %w", err)
		}
		return scheduler.Run(ctx, config, sched)
	}, nil
}
