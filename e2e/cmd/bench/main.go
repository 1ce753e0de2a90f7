// Command bench compares the action with the tools that it replaces, in one run
// on one machine: every figure of time is a ratio, and the budgets beside them
// are those that the project has set itself. It judges nothing and fails only
// when something could not be measured at all.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
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
	for _, measure := range []func(context.Context) error{
		b.size, b.requests, b.seed, b.many, b.verdict, b.memory,
	} {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	return nil
}
