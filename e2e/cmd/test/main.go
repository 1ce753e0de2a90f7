// Command test runs the tests of some modules and shows of them what a person
// wants to know: what failed, as `go test` shows it; at the end, which tests
// were skipped and why, and the figures that tests print. `go test` shows the
// latter two with -v only, among thousands of lines.
//
//	test MODULE... [-- FLAGS AND PACKAGES OF go test]
//
// A test prints a figure with cloudtest.Figure.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	modules, flags := args, []string{"./..."}
	if i := slices.Index(args, "--"); i >= 0 {
		modules, flags = args[:i], args[i+1:]
	}
	if len(modules) == 0 {
		return errors.New("usage: test MODULE... [-- FLAGS AND PACKAGES OF go test]")
	}
	r := newReport(out)
	var errs []error
	for _, module := range modules {
		if err := r.goTest(ctx, module, flags); err != nil {
			errs = append(errs, fmt.Errorf("tests of %s: %w", filepath.Clean(module), err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	r.end()
	return errors.Join(errs...)
}

// goTest runs one module's tests and reports them as they end.
func (r *report) goTest(ctx context.Context, module string, flags []string) error {
	flags, err := withTests(ctx, module, flags)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, flags...)...)
	cmd.Dir, cmd.Stderr = module, os.Stderr
	// An interrupt of the terminal reaches the tests by itself; they tidy up.
	cmd.Cancel = func() error { return nil }
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	for events := json.NewDecoder(stdout); ; {
		var e event
		if err := events.Decode(&e); err != nil {
			_, _ = io.Copy(r.out, events.Buffered()) // no event: shown as it is
			_, _ = io.Copy(r.out, stdout)
			break
		}
		r.add(e)
	}
	return cmd.Wait()
}

// withTests names the packages that have tests in place of "./...": `go test`
// compiles the others too, and with the race detector all of Kubernetes, which
// takes a quarter of an hour and finds nothing.
func withTests(ctx context.Context, module string, flags []string) ([]string, error) {
	at := slices.Index(flags, "./...")
	if at < 0 {
		return flags, nil
	}
	cmd := exec.CommandContext(ctx, "go", "list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}", "./...")
	cmd.Dir, cmd.Stderr = module, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list the packages: %w", err)
	}
	return slices.Concat(flags[:at], strings.Fields(string(out)), flags[at+1:]), nil
}
