package object

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func config(kind, field string, pairs ...string) *unstructured.Unstructured {
	content := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		content[pairs[i]] = pairs[i+1]
	}
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": kind, "metadata": map[string]any{"name": "c"}, field: content}}
}

func TestAStampIsRenewedForWhatChanged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		stamps        Stamps
		before, after *unstructured.Unstructured
		want          Stamps
	}{
		{"created", nil, nil, config("ConfigMap", "data", "a", "1"), Stamps{"": "new"}},
		{"taken over as it is", nil, config("ConfigMap", "data", "a", "1"), config("ConfigMap", "data", "a", "1"), Stamps{}},
		{"one key of two", nil, config("ConfigMap", "data", "a", "1", "b", "2"), config("ConfigMap", "data", "a", "1", "b", "3"), Stamps{"b": "new"}},
		{"a key more", Stamps{"": "old"}, config("ConfigMap", "data", "a", "1"), config("ConfigMap", "data", "a", "1", "b", ""), Stamps{"": "old", "b": "new"}},
		{"a key less", Stamps{"": "old", "b": "older"}, config("ConfigMap", "data", "a", "1", "b", "2"), config("ConfigMap", "data", "a", "1"), Stamps{"": "old", "b": "new"}},
		{"a Secret in other words", Stamps{"": "old"}, config("Secret", "data", "a", "MQ=="), config("Secret", "stringData", "a", "1"), Stamps{"": "old"}},
		{"a Secret", Stamps{"": "old"}, config("Secret", "data", "a", "MQ=="), config("Secret", "stringData", "a", "2"), Stamps{"": "old", "a": "new"}},
		{"from text to bytes", nil, config("ConfigMap", "data", "a", "1"), config("ConfigMap", "binaryData", "a", "MQ=="), Stamps{}},
		{"labels only", Stamps{"a": "old"}, config("ConfigMap", "data", "a", "1"), config("ConfigMap", "data", "a", "1"), Stamps{"a": "old"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := c.stamps.Renewed(c.before, c.after, "new")
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			live := &unstructured.Unstructured{Object: map[string]any{}}
			live.SetAnnotations(map[string]string{ContentAnnotation: got.String()})
			if diff := cmp.Diff(got, StampsOf(live)); diff != "" {
				t.Errorf("read again: %s", diff)
			}
		})
	}
}

// An annotation has a bound, and keys that come and go have none.
func TestStampsAreBounded(t *testing.T) {
	t.Parallel()
	stamps := Stamps{"": "0"}
	for i := range 1000 {
		stamps = stamps.Renewed(config("ConfigMap", "data", fmt.Sprint("k", i), "1"), config("ConfigMap", "data", fmt.Sprint("k", i+1), "1"), fmt.Sprint("s", i))
		if len(stamps) > maxStamps {
			t.Fatalf("%d stamps", len(stamps))
		}
	}
}

func TestAVersionIsOfTheContentThatIsRead(t *testing.T) {
	t.Parallel()
	stamps := Stamps{"": "x", "b": "y"}
	of := config("ConfigMap", "data", "a", "1", "b", "2")
	all, a, b := stamps.Version(of, nil), stamps.Version(of, []string{"a"}), stamps.Version(of, []string{"b"})
	if all == a || a == b || all == "" || len(all) != version {
		t.Fatalf("all %q, a %q, b %q", all, a, b)
	}
	other := config("ConfigMap", "data", "a", "1", "b", "3")
	if got := stamps.Version(other, []string{"a"}); got != a {
		t.Errorf("another key changed a from %s to %s", a, got)
	}
	if got := stamps.Version(other, nil); got == all {
		t.Error("another value under the same stamp is the same version")
	}
	again := Stamps{"": "x", "b": "z"}
	if got := again.Version(of, nil); got == all {
		t.Error("a value that was written anew is the same version")
	}
	if got := again.Version(of, []string{"a"}); got != a {
		t.Error("a value that was not written anew is another version")
	}
	gone := Stamps{"": "x", "b": "z"}
	if got := gone.Version(config("ConfigMap", "data", "a", "1"), []string{"b"}); got == b || got == "" {
		t.Errorf("a key that was removed is version %q", got)
	}
	if got := (Stamps{}).Version(of, nil); got != "" {
		t.Errorf("what we never wrote is version %q", got)
	}
	if got := (Stamps{"b": "y"}).Version(of, []string{"a"}); got != "" {
		t.Errorf("a key that we never wrote is version %q", got)
	}
}

// Whoever reads a Deployment, and not the Secret, tries all the values that there are.
func TestAVersionTellsNothingOfASecret(t *testing.T) {
	t.Parallel()
	secret := func(pin int) *unstructured.Unstructured {
		return config("Secret", "stringData", "pin", fmt.Sprintf("%04d", pin))
	}
	shown := (Stamps{"": "stamp-of-this-secret"}).Version(secret(1234), nil)
	for pin := range 10000 {
		if (Stamps{"": ""}).Version(secret(pin), nil) == shown || (Stamps{"": "guess"}).Version(secret(pin), nil) == shown {
			t.Fatalf("%04d was found", pin)
		}
	}
}
