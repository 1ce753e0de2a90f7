package realnode_test

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// table is how long the action took to its verdict, on either kind of node.
type table struct {
	mu   sync.Mutex
	rows map[string]*row
}

type row struct {
	genuine, simulated time.Duration
	verdict            string
}

var verdicts table

func (t *table) add(name string, genuine bool, took time.Duration, verdict string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rows == nil {
		t.rows = map[string]*row{}
	}
	r := t.rows[name]
	if r == nil {
		r = &row{}
		t.rows[name] = r
	}
	r.verdict = strings.Join(strings.Fields(verdict), " ")
	if genuine {
		r.genuine = took
	} else {
		r.simulated = took
	}
}

func (t *table) write(w io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(t.rows) > 0 {
		fmt.Fprintln(columns, "case\treal\tsimulated\tverdict")
	}
	for _, name := range slices.Sorted(maps.Keys(t.rows)) {
		r := t.rows[name]
		fmt.Fprintf(columns, "%s\t%s\t%s\t%.140s\n", name, r.genuine.Round(100*time.Millisecond), r.simulated.Round(100*time.Millisecond), r.verdict)
	}
	_ = columns.Flush()
}
