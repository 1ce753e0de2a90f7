package wire

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/pkg/object"
)

func TestWarnings(t *testing.T) {
	t.Parallel()
	model, secret := object.ID{Group: "apps", Kind: "Deployment", Name: "model"}, object.ID{Kind: "Secret", Name: "s"}
	w := &Warnings{}
	about := About(t.Context(), model)
	w.HandleWarningHeaderWithContext(about, 299, "-", "spec.x: deprecated\n::error::x")
	w.HandleWarningHeaderWithContext(about, 299, "-", "spec.x: deprecated\n::error::x") // of the write, after the dry run
	w.HandleWarningHeaderWithContext(t.Context(), 299, "-", "v1 Endpoints is deprecated; password: hunter2")
	w.HandleWarningHeaderWithContext(about, 199, "-", "another code")
	w.HandleWarningHeaderWithContext(about, 299, "-", "")
	w.HandleWarningHeaderWithContext(About(t.Context(), secret), 299, "-", "data[a]: hunter2 is weak")
	want := []Warning{{model, "spec.x: deprecated ::error::x"}, {Text: "v1 Endpoints is deprecated; password: [redacted]"}}
	if diff := cmp.Diff(want, w.Take()); diff != "" {
		t.Error(diff)
	}
	for i := range 2 * maxWarnings {
		w.HandleWarningHeaderWithContext(about, 299, "-", strconv.Itoa(i)+strings.Repeat("x", 2*warningLimit))
	}
	if more := w.Take(); len(more) != maxWarnings-2 || len([]rune(more[0].Text)) > warningLimit {
		t.Errorf("%d warnings more", len(more))
	}
	if len(w.Take()) != 0 {
		t.Error("a warning is taken twice")
	}
}
