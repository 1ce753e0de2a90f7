package stored

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/yaml"
)

func parse(tb testing.TB, text string) map[string]any {
	tb.Helper()
	out := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		tb.Fatalf("%v in %s", err, text)
	}
	return whole(out).(map[string]any)
}

// whole has whole numbers as an API server's answers have them.
func whole(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name := range v {
			v[name] = whole(v[name])
		}
	case []any:
		for i := range v {
			v[i] = whole(v[i])
		}
	case float64:
		if v == float64(int64(v)) {
			return int64(v)
		}
	}
	return v
}

func set(tb testing.TB, text string) *fieldpath.Set {
	tb.Helper()
	s := &fieldpath.Set{}
	if err := s.FromJSON(strings.NewReader(text)); err != nil {
		tb.Fatalf("%v in %s", err, text)
	}
	return s
}

func paths(s *fieldpath.Set) []string {
	var all []string
	for path := range s.All() {
		all = append(all, path.String())
	}
	slices.Sort(all)
	return all
}

func TestWritten(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, manifest, object string
		want                   []string // of what differs
	}{
		{"the same", `{spec: {a: 1, b: [x, y], c: {d: e}}}`, `{spec: {a: 1, b: [x, y], c: {d: e, more: 1}}, status: {}}`, nil},
		{"another value", `{spec: {a: 1, c: {d: e}}}`, `{spec: {a: 2, c: {d: f}}}`, []string{"spec.a: 1 is 2", "spec.c.d: e is f"}},
		{"nothing", `{spec: {a: 1}}`, `{spec: {}}`, []string{"spec.a: 1 is absent"}},
		{"nothing of the whole", `{spec: {a: {b: 1}}}`, `{}`, []string{"spec: map[a:map[b:1]] is absent"}},
		{"a null", `{spec: {a: null}, metadata: {labels: null}}`, `{spec: {a: 1}, metadata: {labels: {x: y}}}`, nil},
		{"what is empty is left out", `{spec: {a: "", b: [], c: {}, d: false, e: 0, f: {g: ""}}}`, `{spec: {}}`, nil},
		{"what is empty is not", `{spec: {a: ""}}`, `{spec: {a: x}}`, []string{`spec.a:  is x`}},
		{"quantities", `{spec: {a: 1000m, b: 0.5, c: 1024Mi, d: 1, e: 1e3}}`, `{spec: {a: "1", b: 500m, c: 1Gi, d: "1", e: 1k}}`, nil},
		{"another quantity", `{spec: {a: 100m}}`, `{spec: {a: 250m}}`, []string{"spec.a: 100m is 250m"}},
		{"durations, times, addresses", `{spec: {a: 60s, b: "2026-01-01T00:00:00Z", c: "2001:DB8::1"}}`, `{spec: {a: 1m0s, b: "2026-01-01T00:00:00.000Z", c: "2001:db8::1"}}`, nil},
		{"a list in another order, with more in it", `{spec: {l: [{name: a, v: 1}, {name: b}]}}`, `{spec: {l: [{name: x}, {name: b}, {name: a, v: 1}]}}`, nil},
		{"an item with another value", `{spec: {l: [{name: a, v: 1}]}}`, `{spec: {l: [{name: x, v: 1}, {name: a, v: 2}]}}`, []string{"spec.l[0].v: 1 is 2"}},
		{"an item that is not there", `{spec: {l: [{name: a}, {name: b}]}}`, `{spec: {l: [{name: a}]}}`, []string{"spec.l[1]: map[name:b] is absent"}},
		{"a map in place of a list", `{spec: {l: [a]}}`, `{spec: {l: {a: b}}}`, []string{"spec.l: [a] is map[a:b]"}},
		{"metadata", `{metadata: {name: a, generation: 4, labels: {a: b}, annotations: {x.y/z: c}}}`, `{metadata: {generation: 9, labels: {a: c}, annotations: {x.y/z: d}}}`, []string{"metadata.annotations.x.y/z: c is d", "metadata.labels.a: b is c"}},
		{"data of a ConfigMap", `{kind: ConfigMap, data: {a: "1000m"}}`, `{kind: ConfigMap, data: {a: "1000m"}}`, nil},
		{"stringData", `{kind: Secret, stringData: {a: x}}`, `{kind: Secret, data: {a: eA==, b: eQ==}}`, nil},
		{"stringData over data", `{kind: Secret, data: {a: eQ==}, stringData: {a: x}}`, `{kind: Secret, data: {a: eA==}}`, nil},
		{"stringData that is not stored", `{kind: Secret, stringData: {a: x}}`, `{kind: Secret, data: {a: eQ==}}`, []string{"stringData.a: eA== is eQ=="}},
		{"base64 with line breaks", `{kind: Secret, data: {a: "eHh4\neHh4\n"}}`, `{kind: Secret, data: {a: eHh4eHh4}}`, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, d := range Written(parse(t, tc.manifest), parse(t, tc.object)) {
				is := fmt.Sprint(d.Got)
				if d.Absent {
					is = "absent"
				}
				got = append(got, fmt.Sprintf("%s: %v is %s", d.Path, d.Want, is))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSurplus(t *testing.T) {
	t.Parallel()
	const env = `{"f:spec":{"f:c":{"k:{\"name\":\"m\"}":{".":{},"f:name":{},"f:env":{".":{},"k:{\"name\":\"A\"}":{".":{},"f:value":{}}}}}}}`
	for _, tc := range []struct {
		name, manifest, holds string
		want                  []string
	}{
		{"the list is not written", `{spec: {c: [{name: m}]}}`, env, nil},
		{"the item is", `{spec: {c: [{name: m, env: [{name: A}]}]}}`, env, nil},
		{"the item is not", `{spec: {c: [{name: m, env: [{name: B}]}]}}`, env, []string{`.spec.c[name="m"].env[name="A"]`, `.spec.c[name="m"].env[name="A"].value`}},
		{"the list is empty", `{spec: {c: [{name: m, env: []}]}}`, env, []string{`.spec.c[name="m"].env[name="A"]`, `.spec.c[name="m"].env[name="A"].value`}},
		{"a default of the key", `{spec: {ports: [{port: 80}]}}`, `{"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:port":{}}}}}`, nil},
		{"another key", `{spec: {ports: [{port: 80}]}}`, `{"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"UDP\"}":{".":{}}}}}`, []string{`.spec.ports[port=80,protocol="UDP"]`}},
		{"a set", `{spec: {tags: [a]}}`, `{"f:spec":{"f:tags":{"v:\"a\"":{},"v:\"b\"":{}}}}`, []string{`.spec.tags[="b"]`}},
		{"a map", `{spec: {m: {a: b}}}`, `{"f:spec":{"f:m":{"f:c":{}}}}`, nil},
		{"metadata", `{metadata: {finalizers: [a]}}`, `{"f:metadata":{"f:finalizers":{"v:\"b\"":{}}}}`, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, paths(Surplus(parse(t, tc.manifest), set(t, tc.holds)))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestStale(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name                          string
		owned                         string
		object, before, now, manifest string
		want                          []string
	}{
		{"a default that contradicts", `{"f:spec":{"f:a":{}}}`, `{spec: {a: 1, s: {type: R, r: {x: 1}}}}`, `{spec: {a: 1, s: {type: R, r: {x: 1}}}}`, `{spec: {a: 1, s: {type: D}}}`, `{spec: {a: 1, s: {type: D}}}`, []string{".spec.s.r"}},
		{"a default that follows", `{"f:spec":{"f:in":{}}}`, `{spec: {in: [1], types: [In]}}`, `{spec: {in: [1], types: [In]}}`, `{spec: {in: [1], out: [1], types: [In, Out]}}`, `{spec: {in: [1], out: [1]}}`, []string{".spec.types"}},
		{"a default as before", `{"f:spec":{"f:a":{}}}`, `{spec: {a: 1, d: 5}}`, `{spec: {a: 1, d: 5}}`, `{spec: {a: 2, d: 5}}`, `{spec: {a: 2}}`, nil},
		{"no default: somebody's who is forgotten", `{"f:spec":{"f:a":{}}}`, `{spec: {a: 1, replicas: 0}}`, `{spec: {a: 1, replicas: 1}}`, `{spec: {a: 2, replicas: 1}}`, `{spec: {a: 2}}`, nil},
		{"somebody's", `{"f:spec":{"f:a":{},"f:d":{}}}`, `{spec: {a: 1, d: 5}}`, `{spec: {a: 1, d: 5}}`, `{spec: {a: 2}}`, `{spec: {a: 2}}`, nil},
		{"now the manifest's", `{"f:spec":{"f:a":{}}}`, `{spec: {a: 1, d: 5}}`, `{spec: {a: 1, d: 5}}`, `{spec: {a: 2, d: 6}}`, `{spec: {a: 2, d: 6}}`, nil},
		{
			"in an item", `{"f:spec":{"f:c":{"k:{\"name\":\"m\"}":{".":{},"f:name":{},"f:image":{}}}}}`,
			`{spec: {c: [{name: x}, {name: m, image: a, pull: Always}]}}`, `{spec: {c: [{name: m, image: a, pull: Always}]}}`, `{spec: {c: [{name: m, image: "a:1", pull: Never}]}}`, `{spec: {c: [{name: m, image: "a:1"}]}}`,
			[]string{`.spec.c[name="m"].pull`},
		},
		{
			"in an item that goes", `{"f:spec":{"f:c":{"k:{\"name\":\"m\"}":{".":{},"f:name":{}}}}}`,
			`{spec: {c: [{name: m, pull: Always}]}}`, `{spec: {c: [{name: m, pull: Always}]}}`, `{spec: {c: []}}`, `{spec: {c: []}}`, nil,
		},
		{"status and metadata", `{}`, `{metadata: {a: 1}, status: {b: 1}}`, `{metadata: {a: 1}, status: {b: 1}}`, `{}`, `{}`, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := Defaults{Before: parse(t, tc.before), Now: parse(t, tc.now), Manifest: parse(t, tc.manifest), Owned: set(t, tc.owned)}
			if diff := cmp.Diff(tc.want, paths(d.Stale(parse(t, tc.object)))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// FuzzWritten: an object is what is written in it, and nothing panics.
func FuzzWritten(f *testing.F) {
	f.Add(`{"kind":"Secret","stringData":{"a":1},"data":{"b":[]}}`, `{"kind":"Secret","data":{"a":"x"}}`)
	f.Add(`{"spec":{"l":[{"name":"a"},1,[2]]}}`, `{"spec":{"l":[[2],{"name":"a","x":null}]}}`)
	f.Fuzz(func(t *testing.T, a, b string) {
		first, second := map[string]any{}, map[string]any{}
		if yaml.Unmarshal([]byte(a), &first) != nil || yaml.Unmarshal([]byte(b), &second) != nil {
			t.Skip()
		}
		Written(first, second)
		Surplus(first, &fieldpath.Set{})
		Defaults{Before: first, Now: second, Manifest: second, Owned: &fieldpath.Set{}}.Stale(first)
		if first["stringData"] == nil {
			if d := Written(first, first); len(d) > 0 {
				t.Errorf("%+v", d)
			}
		}
	})
}
