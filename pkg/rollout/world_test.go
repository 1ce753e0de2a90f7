package rollout

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
	"github.com/org/deploy-model-action/pkg/retry"
)

// moment is a state that an object has from some second on.
type moment struct {
	at     float64
	object string // in YAML; its last state if it is gone
	gone   bool
}

// world is an API server whose objects change by themselves, as controllers,
// schedulers and kubelets change them. Whoever lists or watches sees it.
type world struct {
	changes []change
	logs    map[string]string // by pod; "previous POD" for the run before
	refuse  map[string]int    // HTTP status by resource
	// follows are what those get who follow a log, one after the other; the last stands
	// for all further ones. None: 404.
	follows  []follow
	followed atomic.Int64
}

// follow is an answer to who follows a log: what it says, and the second at which it
// ends; 0 is never.
type follow struct {
	says string
	ends float64
}

type change struct {
	when     time.Time
	resource string
	object   *unstructured.Unstructured
	gone     bool
}

func newWorld(t *testing.T, moments []moment) *world {
	t.Helper()
	w := &world{}
	for i, m := range moments {
		o := objecttest.FromYAML(t, m.object)
		o.SetResourceVersion(strconv.Itoa(101 + i))
		resource := changeOf(o).Resource.Resource
		// No two happen at the same time, so that there is one order to tell them in.
		when := objecttest.Start().Add(time.Duration((m.at+0.4)*float64(time.Second)) + time.Duration(i)*time.Millisecond)
		w.changes = append(w.changes, change{when, resource, o, m.gone})
	}
	return w
}

func (w *world) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/")
	if len(parts) > 2 && parts[len(parts)-1] == "log" {
		pod := parts[len(parts)-2]
		if r.URL.Query().Get("follow") != "" && len(w.follows) > 0 {
			w.follow(out, r)
			return
		}
		if r.URL.Query().Get("previous") != "" {
			pod = "previous " + pod
		}
		if log, ok := w.logs[pod]; ok {
			out.Header().Set("Content-Type", "text/plain")
			kubetest.Answer(200, log)(out, r)
			return
		}
		kubetest.Answer(kubetest.Refuse(404, "NotFound", fmt.Sprintf("no log of %s", pod)))(out, r)
		return
	}
	if len(parts) > 2 && parts[len(parts)-2] != "namespaces" && slices.Contains(w.resources(), parts[len(parts)-2]) {
		w.get(parts[len(parts)-2], parts[len(parts)-1])(out, r)
		return
	}
	collection := parts[len(parts)-1]
	if code := w.refuse[collection]; code != 0 {
		kubetest.Answer(kubetest.Refuse(code, map[int]string{403: "Forbidden", 404: "NotFound"}[code], collection+" are not for you"))(out, r)
		return
	}
	if r.URL.Query().Get("watch") == "" {
		w.list(collection, r.URL.Query().Get("fieldSelector"))(out, r)
		return
	}
	w.watch(collection, r.URL.Query().Get("fieldSelector"), r.URL.Query().Get("resourceVersion"))(out, r)
}

func (w *world) follow(out http.ResponseWriter, r *http.Request) {
	f := w.follows[min(int(w.followed.Add(1)), len(w.follows))-1]
	out.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(out, f.says)
	_ = http.NewResponseController(out).Flush()
	ctx := r.Context()
	if f.ends > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, objecttest.Start().Add(time.Duration(f.ends*float64(time.Second))))
		defer cancel()
	}
	<-ctx.Done()
}

// resources are those of the objects.
func (w *world) resources() []string {
	var all []string
	for _, c := range w.changes {
		all = append(all, c.resource)
	}
	return all
}

// get is one object by now; before its first change nobody reads it.
func (w *world) get(collection, name string) kubetest.Scene {
	found := kubetest.No(404, "NotFound")
	for i, c := range w.changes {
		if !c.when.After(time.Now()) && c.resource == collection && c.object.GetName() == name {
			u := c.object.DeepCopy()
			u.SetResourceVersion(strconv.Itoa(101 + i))
			found = kubetest.Answer(200, kubetest.Encoded(u))
		}
	}
	return found
}

// list is what there is by now.
func (w *world) list(collection, fields string) kubetest.Scene {
	version, order, last := 100, []string{}, map[string]string{}
	for i, c := range w.changes {
		if c.when.After(time.Now()) || c.resource != collection || !selected(c.object, fields) {
			continue
		}
		version = 101 + i
		name := c.object.GetName()
		if _, ok := last[name]; !ok {
			order = append(order, name)
		}
		last[name] = kubetest.Encoded(c.object)
		if c.gone {
			last[name] = ""
		}
	}
	var items []string
	for _, name := range order {
		if last[name] != "" {
			items = append(items, last[name])
		}
	}
	return kubetest.Answer(200, strings.Replace(kubetest.ListOf("Thing", items...), `"7"`, strconv.Quote(strconv.Itoa(version)), 1))
}

// watch is what happens after a version.
func (w *world) watch(collection, fields, version string) kubetest.Scene {
	from, _ := strconv.Atoi(version)
	return func(out http.ResponseWriter, r *http.Request) {
		kubetest.Events()(out, r)
		seen := map[string]bool{}
		for i, c := range w.changes {
			if c.resource != collection || !selected(c.object, fields) {
				continue
			}
			name := c.object.GetName()
			if 101+i > from {
				_ = retry.Sleep(r.Context(), time.Until(c.when))
				if r.Context().Err() != nil {
					return
				}
				kind := "ADDED"
				if seen[name] || collection != "pods" {
					kind = "MODIFIED"
				}
				if c.gone {
					kind = "DELETED"
				}
				kubetest.Events(kubetest.Event(kind, c.object))(out, r)
			}
			seen[name] = true
		}
		<-r.Context().Done()
	}
}

// selected tells whether a field selector of this package's requests selects an object.
func selected(o *unstructured.Unstructured, selector string) bool {
	for _, term := range strings.Split(selector, ",") {
		field, value, ok := strings.Cut(term, "=")
		if got, _, _ := unstructured.NestedString(o.Object, strings.Split(field, ".")...); ok && got != value {
			return false
		}
	}
	return true
}
