package apply_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/yaml"

	"github.com/org/deploy-model-action/pkg/apply"
	"github.com/org/deploy-model-action/pkg/kube"
	myobject "github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/stored"
)

// TestRandom deploys random sequences of manifests, with edits by kubectl in between.
// After each deploy what is stored is what the manifest says, or the deploy failed,
// changed nothing and named what is wrong; a second one changes nothing.
func TestRandom(t *testing.T) {
	t.Parallel()
	all := newEnv(t)
	all.define(widgets)
	steps, sequences := 5, 1
	if os.Getenv("CAMPAIGN") != "" {
		steps, sequences = 10, 16
	}
	seed := seedOf(t)
	tally := &tally{of: map[string]int{}}
	t.Cleanup(func() { fmt.Fprint(t.Output(), tally.String()) })
	for i := range sequences {
		for j, kind := range randomKinds {
			if only := os.Getenv("KIND"); only != "" && !slices.Contains(strings.Split(only, ","), kind.name) {
				continue
			}
			t.Run(fmt.Sprintf("%s %d", kind.name, i), func(t *testing.T) {
				t.Parallel()
				s := &sequence{env: newEnv(t), kind: kind, choices: &choices{chance(seed, i*len(randomKinds)+j), map[string]int{}}, tally: tally}
				for n := range steps {
					if !s.step(n) {
						t.Logf("the sequence was:\n%s", strings.Join(s.history, "\n"))
						return
					}
				}
			})
		}
	}
}

// sampleSeed begins the sample that is not a campaign: what it plays has passed, so that
// a change that breaks it is to blame, and not chance.
const sampleSeed = 4

// seedOf is where chance begins: SEED, or the time in a campaign.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(sampleSeed)
	if os.Getenv("CAMPAIGN") != "" {
		seed = uint64(time.Now().UnixNano()) & (1<<32 - 1)
	}
	if s := os.Getenv("SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprintf(t.Output(), "figure: %s: SEED=%d\n", t.Name(), seed)
	return seed
}

// tally counts how steps ended.
type tally struct {
	mu sync.Mutex
	of map[string]int
}

func (a *tally) add(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.of[what]++
}

func (a *tally) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out strings.Builder
	for _, what := range slices.Sorted(maps.Keys(a.of)) {
		fmt.Fprintf(&out, "figure: %6d  %s\n", a.of[what], what)
	}
	return out.String()
}

// sequence is one object's life.
type sequence struct {
	*env
	kind    randomKind
	choices *choices
	sent    tree // the manifest that was deployed last
	tally   *tally
	history []string
	runs    int
}

func (s *sequence) objects() dynamic.ResourceInterface {
	return s.dynamic.Resource(s.kind.resource).Namespace(s.namespace)
}

func (s *sequence) read() *unstructured.Unstructured {
	s.Helper()
	live, err := s.objects().Get(s.Context(), "model", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		s.Fatal(err)
	}
	return live
}

func (s *sequence) note(format string, args ...any) {
	s.history = append(s.history, fmt.Sprintf(format, args...))
}

// run deploys the manifest.
func (s *sequence) run(manifest tree) ([]kube.Change, error) {
	s.runs++
	o := s.options(fmt.Sprintf("%d-1", s.runs))
	plan, err := apply.NewPlan(s.Context(), []*unstructured.Unstructured{{Object: manifest}}, o)
	if err != nil {
		return nil, err
	}
	return plan.Write(s.Context())
}

// step edits, deploys and looks; false ends the sequence.
func (s *sequence) step(n int) bool {
	before := s.choices
	if n > 0 {
		if s.choices.r.IntN(4) > 0 {
			s.edit()
		}
		s.choices = s.choices.changed(1 + s.choices.r.IntN(4))
	}
	manifest := copied(s.kind.make(s.choices))
	text, _ := yaml.Marshal(manifest)
	s.note("--- deploy\n%s", text)
	planned, refusal := s.foretell(copied(manifest))
	was := s.read()
	changes, err := s.run(copied(manifest))
	s.tally.add("steps")
	s.asPlanned(planned, refusal, changes, err)
	if err != nil {
		s.refused(err, was)
		s.choices = before
		return !s.Failed()
	}
	s.note("log: %s", s.logged())
	live := s.read()
	if live == nil {
		s.Errorf("it is not there")
		return false
	}
	s.compare(manifest, live)
	s.sent = manifest
	changes, err = s.run(copied(manifest))
	if err != nil || len(changes) != 1 || changes[0].Action != kube.Unchanged {
		after := s.read()
		s.Errorf("the second run: %s, %v\n%s", lines(changes), err, s.logged())
		s.Logf("live before %s\nand after %s", asJSON(live.Object), asJSON(after.Object))
	}
	return !s.Failed()
}

// refused looks at a deploy that failed: it named a field, and left all as it was.
func (s *sequence) refused(err error, was *unstructured.Unstructured) {
	s.Helper()
	s.note("refused: %v", err)
	var own *kube.ObjectError
	if !errors.As(err, &own) {
		s.Errorf("%T %v", err, err)
		return
	}
	named := own.Field != "" || strings.Contains(err.Error(), "is still running, and its template")
	if !named {
		s.Errorf("no field is named: %v", err)
	}
	s.Logf("refused after\n%s", strings.Join(s.history[max(0, len(s.history)-8):], "\n"))
	text, _, _ := strings.Cut(err.Error(), "\n")
	_, text, _ = strings.Cut(text, ": ")
	s.tally.add(fmt.Sprintf("refused: %s %.100s", s.kind.name, text))
	now := s.read()
	if (was == nil) != (now == nil) || was != nil && !reflect.DeepEqual(was.Object["spec"], now.Object["spec"]) {
		s.Errorf("it was refused, and changed: %v", err)
	}
}

// compare holds what is stored against the manifest, and against what the server makes
// of it where there is nothing yet.
func (s *sequence) compare(manifest tree, live *unstructured.Unstructured) {
	s.Helper()
	wanted, log := plainSecret(manifest), s.history[len(s.history)-1]
	for _, m := range live.GetManagedFields() {
		if m.Subresource == "scale" && m.Manager != "kubectl" {
			wanted = copied(wanted)
			delete(wanted["spec"].(tree), "replicas") // an autoscaler's
		}
	}
	if at := lacking(wanted, live.Object); at != "" && !strings.Contains(log, "is not stored: the server, or an admission webhook, leaves it out") {
		s.Errorf("not stored as written: %s\n%s", at, log)
	}
	body := copied(manifest)
	metadata := body["metadata"].(tree)
	delete(metadata, "name")
	metadata["generateName"] = "model-"
	made, err := s.objects().Create(s.Context(), &unstructured.Unstructured{Object: body}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: "oracle"})
	if err != nil {
		s.Errorf("made anew: %v", err)
		return
	}
	others, all := &fieldpath.Set{}, &fieldpath.Set{}
	for _, m := range live.GetManagedFields() {
		set := &fieldpath.Set{}
		if m.FieldsV1 == nil || set.FromJSON(strings.NewReader(string(m.FieldsV1.GetRawBytes()))) != nil {
			continue
		}
		all = all.Union(set)
		if m.Manager != myobject.FieldManager {
			others = others.Union(set)
		}
	}
	var found []string
	for name, v := range live.Object {
		switch name {
		case "apiVersion", "kind", "metadata", "status":
			continue
		}
		pe := fieldpath.FieldNameElement(name)
		if name == "spec" && others.Has(fieldpath.MakePathOrDie("spec", "egress")) {
			continue // from which policyTypes follow
		}
		tooMuch(name, v, made.Object[name], sub(all, pe), sub(others, pe), others.Members.Has(pe), &found)
	}
	for _, part := range []string{"labels", "annotations"} {
		is, _, _ := unstructured.NestedStringMap(live.Object, "metadata", part)
		want, _, _ := unstructured.NestedStringMap(manifest, "metadata", part)
		for key := range is {
			_, ok := want[key]
			if !ok && !myobject.IsMark(key) && !strings.Contains(key, "kubernetes.io/") && key != "deprecated.daemonset.template.generation" && !given.MatchString("spec."+key) && !others.Has(fieldpath.MakePathOrDie("metadata", part, key)) {
				found = append(found, "metadata."+part+"."+key)
			}
		}
	}
	found = slices.DeleteFunc(found, func(at string) bool {
		path, _, _ := strings.Cut(at, " ")
		return strings.Contains(log, path+" stays as it is") // and is said
	})
	if len(found) > 0 {
		s.Errorf("nobody wrote, and the manifest does not lead to it: %s\nlive %s\nmade %s", strings.Join(found, ", "), asJSON(live.Object), asJSON(made.Object))
	}
}

func sub(set *fieldpath.Set, pe fieldpath.PathElement) *fieldpath.Set {
	if set == nil {
		return nil
	}
	below, _ := set.Children.Get(pe)
	return below
}

// given is what the server gives away, and what stays when its owner lets go.
var given = regexp.MustCompile(`^spec\.(clusterIPs?|ports\[\d+\]\.nodePort|healthCheckNodePort|completions|ipFamil.*|replicas)(\[\d+\])?$|.*controller-uid$|.*job-name$`)

// tooMuch adds what an object has and would not have if it were made anew, unless
// somebody else wrote it.
func tooMuch(path string, is, made any, all, others *fieldpath.Set, theirs bool, found *[]string) {
	if m, ok := is.(map[string]any); ok && len(m) == 0 && made == nil {
		return // it says nothing
	}
	if reflect.DeepEqual(is, made) || theirs && others == nil || given.MatchString(path) {
		return
	}
	switch is := is.(type) {
	case map[string]any:
		m, ok := made.(map[string]any)
		if !ok && others != nil && !others.Empty() {
			return // somebody else wants it, and it has defaults
		}
		if len(is) > 0 {
			for name, v := range is {
				pe := fieldpath.FieldNameElement(name)
				tooMuch(path+"."+name, v, m[name], sub(all, pe), sub(others, pe), others != nil && others.Members.Has(pe), found)
			}
			return
		}
	case []any:
		list, _ := made.([]any)
		keyed := false
		for i, item := range is {
			pe, below, ok := stored.Item(all, item, i)
			if !ok || pe.Key == nil && pe.Value == nil {
				continue
			}
			keyed = true
			var other any
			for j := range list {
				if at, _, ok := stored.Item(fieldpath.NewSet(fieldpath.Path{pe}), list[j], j); ok && at.Equals(pe) {
					other = list[j]
				}
			}
			tooMuch(fmt.Sprintf("%s[%d]", path, i), item, other, below, sub(others, pe), others != nil && others.Members.Has(pe) && sub(others, pe) == nil, found)
		}
		if keyed {
			return
		}
	}
	*found = append(*found, fmt.Sprintf("%s (%s instead of %s)", path, asJSON(is), asJSON(made)))
}

// lacking names the first field of a manifest that is not in an object.
func lacking(want, is any) string {
	switch want := want.(type) {
	case nil:
		return ""
	case map[string]any:
		m, ok := is.(map[string]any)
		if !ok && len(want) > 0 {
			return fmt.Sprintf("%s in place of %s", asJSON(is), asJSON(want))
		}
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if at := lacking(want[name], m[name]); at != "" {
				return name + "." + at
			}
		}
		return ""
	case []any:
		list, _ := is.([]any)
		for i, item := range want {
			if !slices.ContainsFunc(list, func(v any) bool { return lacking(item, v) == "" }) {
				return fmt.Sprintf("[%d]: %s not in %s", i, asJSON(item), asJSON(is))
			}
		}
		return ""
	}
	x, y := fmt.Sprint(want), fmt.Sprint(is)
	p, err := resource.ParseQuantity(x)
	q, err2 := resource.ParseQuantity(y)
	zero := reflect.ValueOf(want).IsZero() && is == nil
	if x == y || zero || err == nil && err2 == nil && p.Cmp(q) == 0 {
		return ""
	}
	return fmt.Sprintf("%s in place of %s", asJSON(is), asJSON(want))
}

// plainSecret is a manifest as it is to be stored.
func plainSecret(manifest tree) tree {
	text, ok := manifest["stringData"].(tree)
	out := maps.Clone(manifest)
	if !ok {
		return out
	}
	delete(out, "stringData")
	data := fields()
	if d, ok := out["data"].(tree); ok {
		data = maps.Clone(d)
	}
	for key, v := range text {
		data[key] = base64.StdEncoding.EncodeToString(fmt.Append(nil, v))
	}
	out["data"] = data
	return out
}

func asJSON(v any) string {
	if m, ok := v.(map[string]any); ok && m["kind"] != nil {
		m = maps.Clone(m)
		delete(m, "status")
		v = m
	}
	body, _ := json.Marshal(v)
	return string(body)
}

// copied is a manifest as it comes out of a file.
func copied(m tree) tree { return (&unstructured.Unstructured{Object: m}).DeepCopy().Object }

// define makes a custom resource known, and waits until it is served.
func (e *env) define(definition string) {
	e.Helper()
	o := e.options("0-1")
	e.must(o, definition)
	list := randomKinds[len(randomKinds)-1].resource
	for {
		if _, err := e.dynamic.Resource(list).Namespace(e.namespace).List(e.Context(), metav1.ListOptions{}); err == nil || e.Context().Err() != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}
