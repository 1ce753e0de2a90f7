// Command bench compares the action with the tools that it replaces, in one run
// on one machine: every figure of time is a ratio, and the budgets beside them
// are those that the project has set itself. It judges nothing and fails only
// when something could not be measured at all. Arguments name the measures to
// take: size, requests, seed, many, verdict, memory; without any, all are taken.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	b, err := start(ctx)
	if err != nil {
		return err
	}
	defer b.close()
	only := os.Args[1:]
	for _, m := range []struct {
		name    string
		measure func(context.Context) error
	}{
		{"size", b.size},
		{"requests", b.requests},
		{"seed", b.seed},
		{"many", b.many},
		{"verdict", b.verdict},
		{"memory", b.memory},
	} {
		if len(only) > 0 && !slices.Contains(only, m.name) {
			continue
		}
		if err := m.measure(ctx); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}
