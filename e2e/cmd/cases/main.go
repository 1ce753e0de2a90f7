// Command cases plays folders of cases in a local cloud, and says which do not
// hold, and with what: see e2e/cases/README.md.
//
//	cases [-run REGEXP] [-log] [-binary FILE] DIR
//
// DIR is a folder of cases, or one case. The log of a case that does not hold, or is
// the only one, is shown as a user sees it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/org/deploy-model-action/e2e/casetest"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/runner"
)

// atOnce is how many are played at the same time: most of a case is waiting.
const atOnce = 6

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cases:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("cases", flag.ContinueOnError)
	only := flags.String("run", "", "plays those cases only whose names match the expression")
	log := flags.Bool("log", false, "shows the log of each case, also of one that holds")
	binary := flags.String("binary", "", "plays them with this build of the action, such as an earlier one, and not with the source beside it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	names, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	if flags.NArg() != 1 {
		return fmt.Errorf("usage: cases [-run REGEXP] [-log] [-binary FILE] DIR")
	}
	all, err := casetest.Load(flags.Arg(0))
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(c casetest.Case) bool { return !names.MatchString(c.Name) })
	if len(all) == 0 {
		return fmt.Errorf("-run: no case is called like %q", *only)
	}
	dir, err := os.MkdirTemp("", "cases")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	root := ".." // go -C e2e run ./cmd/cases
	if *binary == "" {
		if *binary, err = runner.BuildAction(ctx, root, dir); err != nil {
			return err
		}
	}
	cloud, err := localcloud.Start(ctx, localcloud.Options{Dir: filepath.Join(dir, "cloud"), Log: os.Stderr, CrashPause: time.Second})
	if err != nil {
		return err
	}
	defer cloud.Close()
	w, err := casetest.NewWorld(casetest.Options{Cloud: cloud, Binary: *binary, Metadata: filepath.Join(root, "action.yml")})
	if err != nil {
		return err
	}
	return play(ctx, w, all, show{out: out, logs: *log || len(all) == 1})
}

// show is where reports go, and whether the log of what holds goes there as well.
type show struct {
	out  io.Writer
	logs bool
}

// play plays all cases, and reports each when those before it have been.
func play(ctx context.Context, w *casetest.World, all []casetest.Case, show show) error {
	reports := make([]chan *casetest.Report, len(all))
	var group sync.WaitGroup
	defer group.Wait()
	slots := make(chan struct{}, atOnce)
	for i, c := range all {
		reports[i] = make(chan *casetest.Report, 1)
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			reports[i] <- w.Play(ctx, c)
		})
	}
	var holds, fails, skipped int
	for _, report := range reports {
		r := <-report
		switch {
		case r.Skipped != "":
			skipped++
		case r.Holds():
			holds++
		default:
			fails++
		}
		if show.logs || fails > 0 && !r.Holds() && r.Skipped == "" {
			fmt.Fprint(show.out, r.Log)
		}
		fmt.Fprint(show.out, r.Verdict())
	}
	fmt.Fprintf(show.out, "%d hold, %d do not, %d skipped\n", holds, fails, skipped)
	if fails > 0 {
		return fmt.Errorf("%d of %d cases do not hold", fails, len(all))
	}
	return nil
}
