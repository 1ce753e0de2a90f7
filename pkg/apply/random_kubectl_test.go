package apply_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	myobject "github.com/org/deploy-model-action/pkg/object"
)

// differs is where we store another value than `kubectl apply --server-side`, and why
// ours is right: an object that is made of this manifest alone has it.
var differs = []struct {
	path *regexp.Regexp
	why  string
}{
	{regexp.MustCompile(`^spec\.policyTypes`), "which rules count follows from the rules that there are, and not from those that there were"},
	{regexp.MustCompile(`\.imagePullPolicy$`), "it follows from the tag that is deployed"},
	{regexp.MustCompile(`\.hostPort$`), "a port of the host came of hostNetwork, and goes with it"},
	{regexp.MustCompile(`\.serviceAccount(Name)?$`), "an account that the manifest does not name any more is not used"},
	{regexp.MustCompile(`^spec\.(updateStrategy|strategy)\.`), "a default of another strategy goes with it"},
	{regexp.MustCompile(`^data\.`), "a key that was written as stringData goes with it"},
	{regexp.MustCompile(`^spec\.(sessionAffinityConfig|behavior)`), "a default beside what is not written any more goes with it"},
}

// TestSameAsKubectl sends the same manifests to two namespaces, by `kubectl apply
// --server-side` and by us. What is stored differs in nothing but marks, but where
// the table says so.
func TestSameAsKubectl(t *testing.T) {
	t.Parallel()
	all := newEnv(t)
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("kubectl is not on this machine")
	}
	all.define(widgets)
	steps, sequences := 3, 1
	if os.Getenv("CAMPAIGN") != "" {
		steps, sequences = 8, 4
	}
	seed := seedOf(t)
	tally := &tally{of: map[string]int{}}
	t.Cleanup(func() { fmt.Fprint(t.Output(), tally.String()) })
	for i := range sequences {
		for j, kind := range randomKinds {
			t.Run(fmt.Sprintf("%s %d", kind.name, i), func(t *testing.T) {
				t.Parallel()
				c := &choices{chance(seed, i*len(randomKinds)+j), map[string]int{}}
				ours, theirs := &sequence{env: newEnv(t), kind: kind}, &sequence{env: newEnv(t), kind: kind}
				apply := func(manifest tree) (string, error) {
					cmd := exec.CommandContext(t.Context(), kubectl, "--kubeconfig", os.Getenv(kubeconfig), "--namespace", theirs.namespace, "apply", "--server-side", "-f", "-")
					cmd.Stdin = strings.NewReader(asJSON(manifest))
					out, err := cmd.CombinedOutput()
					return string(out), err
				}
				for range steps {
					manifest := copied(kind.make(c))
					_, ourErr := ours.run(copied(manifest))
					out, theirErr := apply(manifest)
					switch {
					case ourErr != nil && theirErr != nil:
						tally.add("both refuse it")
					case ourErr != nil && strings.Contains(ourErr.Error(), "is not in the manifest any more"):
						tally.add(fmt.Sprintf("we refuse what cannot be made so, and kubectl leaves silently: %s", kind.name))
					case ourErr != nil:
						t.Errorf("we refuse what kubectl applies: %v", ourErr)
					case theirErr != nil:
						tally.add(fmt.Sprintf("kubectl refuses what we make so: %s %.90s", kind.name, strings.ReplaceAll(out, "\n", " ")))
					default:
						tally.add("stored by both")
						compareStored(t, ours.read(), theirs.read(), tally)
					}
					if (ourErr != nil) != (theirErr != nil) { // they begin anew from the same
						for _, s := range []*sequence{ours, theirs} {
							if err := s.by("delete", nil); err != nil {
								t.Fatal(err)
							}
						}
					}
					if c = c.changed(3); t.Failed() {
						return
					}
				}
			})
		}
	}
}

// compareStored compares what two stored of one manifest.
func compareStored(t *testing.T, ours, theirs *unstructured.Unstructured, tally *tally) {
	t.Helper()
	a, b := leavesOf(ours), leavesOf(theirs)
	paths := map[string]bool{}
	for _, m := range []map[string]string{a, b} {
		for path := range m {
			paths[path] = true
		}
	}
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if a[path] == b[path] {
			continue
		}
		at := slices.IndexFunc(differs, func(d struct {
			path *regexp.Regexp
			why  string
		},
		) bool {
			return d.path.MatchString(path)
		})
		if at < 0 {
			t.Errorf("%s: %s is ours, %s kubectl's\nours %s\nkubectl's %s", path, a[path], b[path], asJSON(ours.Object), asJSON(theirs.Object))
			return
		}
		tally.add("differs: " + differs[at].why)
	}
}

// leavesOf are the fields of an object that a manifest decides on.
func leavesOf(u *unstructured.Unstructured) map[string]string {
	out := map[string]string{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, below := range v {
				if !myobject.IsMark(name) {
					walk(path+"."+name, below)
				}
			}
		case []any:
			for i, below := range v {
				walk(fmt.Sprintf("%s[%d]", path, i), below)
			}
		default:
			if path = strings.TrimPrefix(path, "."); !given.MatchString(path) {
				out[path] = asJSON(v)
			}
		}
	}
	for name, v := range u.Object {
		switch name {
		case "status", "metadata":
		default:
			walk(name, v)
		}
	}
	for _, part := range []string{"labels", "annotations"} {
		v, _, _ := unstructured.NestedFieldNoCopy(u.Object, "metadata", part)
		walk("metadata."+part, v)
	}
	delete(out, "metadata.annotations")
	delete(out, "metadata.annotations.deployment.kubernetes.io/revision")
	delete(out, "metadata.annotations.deprecated.daemonset.template.generation")
	return out
}

// chance is the same for the same seed and number.
func chance(seed uint64, n int) *rand.Rand {
	var key [32]byte
	copy(key[:], fmt.Sprintf("%d %d", seed, n))
	return rand.New(rand.NewChaCha8(key)) //nolint:gosec // it has to be repeatable
}
