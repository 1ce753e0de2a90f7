package manifest

import (
	"bufio"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"
)

func load(tb testing.TB, text string) (*Set, error) {
	tb.Helper()
	return Load(tb.Context(), Options{Root: workspace(tb, map[string]string{"a.yaml": text}), Paths: []string{"a.yaml"}})
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	a, b := config("a"), config("b")
	jsonA, jsonB := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}}`, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b"}}`
	for name, test := range map[string]struct {
		text  string
		lines []int
	}{
		"one":                        {a, []int{1}},
		"no newline at the end":      {strings.TrimSpace(a), []int{1}},
		"two":                        {a + "---\n" + b, []int{1, 6}},
		"separators all around":      {"---\n" + a + "---\n---\n# nothing\n---   # b\n" + b + "---\n", []int{2, 10}},
		"separator at the very end":  {a + "---", []int{1}},
		"a comment before":           {"# a\n\n" + a, []int{3}},
		"an end mark":                {a + "...\n---\n" + b, []int{1, 7}},
		"text behind the separator":  {"--- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n---\n" + b, []int{1, 3}},
		"a tag behind the separator": {"--- !!map\n" + a, []int{1}},
		"line ends of Windows":       {strings.ReplaceAll(a+"---\n"+b, "\n", "\r\n"), []int{1, 6}},
		"byte order mark":            {"\ufeff" + a, []int{1}},
		"dashes in a block scalar":   {a + "data:\n  x: |\n    ---\n    a: b\n    ---\n  y: >-\n    z\n---\n" + b, []int{1, 13}},
		"dashes in a quoted scalar":  {a + "data:\n  x: \"---\n    a\"\n---\n" + b, []int{1, 9}},
		"empty documents":            {"\n---\n~\n---\nnull\n---\n" + a, []int{7}},
		"JSON":                       {jsonA, []int{1}},
		"JSON after a blank line":    {"\n\n " + jsonA, []int{3}},
		"JSON, one after another":    {jsonA + "\n" + jsonB + jsonB[:0] + "\n", []int{1, 2}},
		"JSON and YAML":              {jsonA + "\n---\n" + b, []int{1, 3}},
		"JSON with two escapes":      {strings.Replace(jsonA, `"name":"a"`, `"name":"a","annotations":{"x":"\ud83d\ude00\/"}`, 1), []int{1}},
		"JSON that only YAML reads":  {"{apiVersion: v1, kind: ConfigMap,\n metadata: {name: a,}} # why\n---\n" + b, []int{1, 4}},
		"List":                       {"apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: a}\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: b}\n", []int{4, 7}},
		"a list of one kind":         {"apiVersion: v1\nkind: ConfigMapList\nitems:\n- metadata: {name: a}\n- metadata: {name: b}\n", []int{4, 5}},
		"a List in a List":           {"apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: List\n  items:\n  - {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n", []int{7}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set, err := load(t, test.text)
			if err != nil {
				t.Fatal(err)
			}
			var lines []int
			for i, o := range set.Objects {
				lines = append(lines, set.Position(i, "").Line)
				if want := string(rune('a' + i)); len(test.lines) == 2 && o.GetName() != want {
					t.Errorf("object %d is %q, want %q", i, o.GetName(), want)
				}
				if o.GetKind() != "ConfigMap" || o.GetAPIVersion() != "v1" {
					t.Errorf("object %d is %s %s", i, o.GetAPIVersion(), o.GetKind())
				}
			}
			if diff := cmp.Diff(test.lines, lines); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}

// scalars are values whose meaning the YAML versions and libraries disagree on.
var scalars = []string{
	"yes", "no", "on", "off", "y", "n", "Yes", "TRUE", "true", "~", "null", "Null", "",
	"0777", "0o777", "0x1F", "0b101", "1_000", "+1", "-0", "12e3", "1e3", "1.0", "1.5", ".5", "1.", "1e400",
	"9223372036854775807", "9223372036854775808", "18446744073709551616", "-9223372036854775808", "123456789012345678901234567890",
	"2001-12-14", "2001-12-14T21:59:43Z", "2001-12-14 21:59:43", "12:30:45", "190:20:30", "1:1", "=", "<<x",
	"'yes'", `"no"`, `"0777"`, "!!str 5", "!!int '5'", "!!float 5", "!!str yes", "!!binary aGVsbG8=", "!custom x",
	"100m", "1Gi", "0.1", "a: b", "[yes, 010, {on: off}]", "{1: a, 1.5: b, true: c, null_: d}", "|\n    x\n     y\n", ">-\n    x\n    y\n",
	`"\u00e9\x41\t"`, "é", "'it''s'", "a#b", "a #b", "@x", "-", "- a", "? x", "%x",
}

func TestValuesAreKubectls(t *testing.T) {
	t.Parallel()
	for _, scalar := range scalars {
		t.Run(scalar, func(t *testing.T) {
			t.Parallel()
			sameAsKubectl(t, config("a")+"spec:\n  key: "+scalar+"\n")
			sameAsKubectl(t, config("a")+"spec:\n  ? "+scalar+"\n  : 1\n")
		})
	}
	for name, text := range map[string]string{
		"merge":              "base: &b {x: 1, y: yes}\nspec:\n  <<: *b\n  y: 2\n",
		"merge behind":       "base: &b {x: 1, y: yes}\nspec:\n  y: 2\n  <<: *b\n",
		"merge of two":       "base: [&b {x: 1}, &c {x: 2, y: 3}]\nspec:\n  <<: [*b, *c]\n",
		"alias":              "base: &b [on, 0777]\nspec: *b\n",
		"alias of a scalar":  "base: &b 2001-12-14\nspec: {x: *b}\n",
		"alias in a key":     "base: &b x\nspec: {*b : 1}\n",
		"anchor set again":   "base: &b 1\nspec: [*b, &b 2, *b]\n",
		"deep":               "spec: " + strings.Repeat("[", 500) + strings.Repeat("]", 500) + "\n",
		"Windows":            "spec:\r\n  x: |\r\n    a\r\n    b\r\n",
		"a block at the end": "data:\n  x: |\n    a\n    b", "kept": "data:\n  x: |+\n    a\n\n    b", "stripped": "data:\n  x: |-\n    a\n    b",
		"folded": "data:\n  x: >\n    a\n    b", "folded, kept": "data:\n  x: >+\n    a\n    b\n", "Windows, at the end": "data:\r\n  x: |\r\n    a\r\n    b", "empty at the end": "data:\n  x: |",
		"an unquoted colon":  "spec: {x: a:b, y: http://x}\n",
		"tabs behind values": "spec:\t\n  x: 1\t\n  y:\t2\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sameAsKubectl(t, config("a")+text)
		})
	}
}

// sameAsKubectl compares what is loaded with what kubectl would send. What
// kubectl refuses must be refused too; refusing more is allowed.
func sameAsKubectl(t *testing.T, text string) {
	t.Helper()
	var want map[string]any
	// kubectl reads line by line, and ends each one.
	read, kubectl := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text))).Read()
	var converted []byte
	if kubectl == nil {
		converted, kubectl = sigsyaml.YAMLToJSON(read)
	}
	if kubectl == nil {
		kubectl = utiljson.Unmarshal(converted, &want)
	}
	set, err := load(t, text)
	if kubectl != nil {
		if err == nil {
			t.Errorf("loaded %q, which kubectl refuses: %v", text, kubectl)
		}
		return
	}
	if err != nil {
		t.Errorf("%q: %v", text, err)
		return
	}
	// Not cmp, whose time doubles with every level of a nested list.
	if got := set.Objects[0].Object; !reflect.DeepEqual(want, got) {
		t.Errorf("%q: loaded %v, kubectl %v", text, got, want)
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	set, err := load(t, config("a")+"spec: {i: 3, f: 1.5, whole: 2.0, big: 9007199254740993, huge: 9223372036854775808}\n")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"i": int64(3), "f": 1.5, "whole": int64(2), "big": int64(9007199254740993), "huge": float64(9223372036854775808)}
	if diff := cmp.Diff(want, set.Objects[0].Object["spec"]); diff != "" {
		t.Errorf("numbers (-want +got):\n%s", diff)
	}
}

// canary is a secret that stands in every broken file, and must be in no error.
const canary = "hunter2-canary"

func TestLoadRefusesFiles(t *testing.T) {
	t.Parallel()
	secret := "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData:\n  password: " + canary + "\n"
	sections := map[string]string{}
	for title, text := range map[string]string{
		"bad indentation":         "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: x\nspec:\n  template:\n    spec:\n      containers:\n        - name: a\n       image: " + canary + "\n  replicas: 1\n",
		"bad indentation, second": secret + "---\n" + secret + " x: " + canary + "\n---\n" + secret,
		"two colons":              secret + "  token: a: " + canary + "\n",
		"no colon":                "apiVersion: v1\nkind Secret " + canary + "\nmetadata:\n  name: x\n",
		"quote unclosed":          secret + "  token: \"" + canary + "\nother: x\n",
		"bracket unclosed":        secret + "  token: [" + canary + "\nother: x\n",
		"tab":                     secret + "other:\n\tx: " + canary + "\n",
		"tab behind spaces":       secret + "other:\n  \tx: " + canary + "\n",
		"reserved sign":           secret + "other: @" + canary + "\n",
		"unknown anchor":          secret + "other: *" + canary + "\n",
		"anchor in itself":        secret + "other: &a [*a, " + canary + "]\n",
		"key twice":               secret + "stringData:\n  x: " + canary + "\n",
		"key twice, deep":         "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n  - name: a\n    image: " + canary + "\n    image: b\n",
		"key twice, JSON":         "{\n\"apiVersion\": \"v1\",\n\"kind\": \"Secret\",\n\"kind\": \"" + canary + "\",\n\"metadata\": {\"name\": \"x\"}}",
		"JSON unclosed":           "{\n\"apiVersion\": \"v1\",\n\"kind\": \"Secret\",\n\"data\": {\"x\": \"" + canary + "\"\n",
		"template":                "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {{ .Values.name }}\n  labels: {}\nstringData:\n  x: " + canary + "\n",
		"template block":          "{{- if .Values.x }}\napiVersion: v1\nkind: Secret\nstringData:\n  x: " + canary + "\n{{- end }}\n",
		"template, quoted name":   "apiVersion: \"{{ .Values.a }}\"\nkind: 5\nmetadata:\n  name: x\n",
		"no kind":                 "apiVersion: v1\nmetadata:\n  name: x\ndata:\n  x: " + canary + "\n",
		"nothing at all":          "x: " + canary + "\n",
		"no metadata":             "apiVersion: v1\nkind: Secret\ndata:\n  x: " + canary + "\n",
		"metadata no map":         "apiVersion: v1\nkind: Secret\nmetadata: " + canary + "\n",
		"no name":                 "apiVersion: v1\nkind: Secret\nmetadata:\n  namespace: y\n",
		"empty name":              "apiVersion: v1\nkind: Secret\nmetadata:\n  namespace: y\n  name: ''\n",
		"name no string":          "apiVersion: v1\nkind: Secret\nmetadata:\n  name: 123\n",
		"namespace no string":     "apiVersion: v1\nkind: Secret\nmetadata:\n  name: x\n  namespace: 1\n",
		"generateName":            "apiVersion: v1\nkind: Job\nmetadata:\n  generateName: x-\n",
		"labels no strings":       "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n  labels:\n    example.com/version: 1.0\n  annotations:\n    on: true\n    quoted: 'true'\n    empty:\n",
		"annotations of ours":     "apiVersion: v1\nkind: Service\nmetadata:\n  name: x\n  annotations:\n    example.com/wait: maybe\n    deploy-model-action/run: 1-1\n    deploy-model-action/wait: maybe\n    deploy-model-action/ready-when: '{.status.phase} = Running'\n    deploy-model-action/ready_when: '{.status.phase}'\n    deploy-model-action/prune: 'false'\n",
		"phase without a wait":    "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: x\n  annotations:\n    deploy-model-action/phase: before\n    deploy-model-action/wait: 'false'\n",
		"labels no map":           "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n  labels: [" + canary + "]\n",
		"a list":                  "- " + canary + "\n- b\n",
		"a word":                  canary + "\n",
		"items no list":           "apiVersion: v1\nkind: List\nitems: " + canary + "\n",
		"items no objects":        "apiVersion: v1\nkind: List\nitems:\n- " + canary + "\n- apiVersion: v1\n  kind: Secret\n",
		"empty key":               secret + "other:\n  ~: " + canary + "\n",
		"map as a key":            secret + "other:\n  {a: " + canary + "}: x\n",
		"infinite":                secret + "other: .inf\n",
		"tag that does not fit":   secret + "other: !!int " + canary + "\n",
		"no binary":               secret + "other: !!binary '" + canary + "$'\n",
		"merge of a word":         secret + "<<: " + canary + "\n",
		"text behind the end":     secret + "...\nx: " + canary + "\n",
		"dashes and text":         secret + "---x\n" + canary + "\n",
		"directive":               "%FOO " + canary + "\n---\n" + secret,
		"not UTF-8":               secret + "other: \xff" + canary + "\n",
		"UTF-16":                  "\xff\xfea\x00p\x00i\x00",
		"control character":       secret + "other: \x01" + canary + "\n",
		"twice":                   config("a") + "---\n" + config("b") + "---\n" + strings.Replace(config("a"), "  name", "  namespace: default\n  labels: {a: b}\n  name", 1),
		"twice in another group":  "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n---\napiVersion: apps/v1beta1\nkind: Deployment\nmetadata: {name: a}\n",
		"several at once":         "kind: Pod\nmetadata:\n  name: x\n---\napiVersion: v1\n---\na: [\n---\n" + config("x"),
		"too many aliases":        config("a") + "base: &b x\nspec: [" + strings.Repeat("*b, ", 101) + "]\n",
		"large by aliases":        config("a") + "base: &b " + strings.Repeat("x", 50_000) + "\nspec: [" + strings.Repeat("*b, ", 100) + "]\n",
		"long key":                secret + strings.Repeat("k", 500) + ": 1\n" + strings.Repeat("k", 500) + ": 2\n",
		"nested too deep":         config("a") + "spec: " + strings.Repeat("[", 20_000) + "\n",
	} {
		_, err := load(t, text)
		if err == nil {
			t.Errorf("%s: no error", title)
			continue
		}
		for _, m := range mistakes(t, err) {
			if m.File != "a.yaml" || m.Line < 1 || m.Line > strings.Count(text, "\n")+1 {
				t.Errorf("%s: %s:%d is no line of the file", title, m.File, m.Line)
			}
		}
		if strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the error holds what the file holds: %v", title, err)
		}
		sections[title] = err.Error()
	}
	golden(t, "files.golden", sections)
}

// TestEqualCopiesCountOnce: charts and generators repeat an object, often with its
// namespace in one place only.
func TestEqualCopiesCountOnce(t *testing.T) {
	t.Parallel()
	set, err := load(t, config("a")+"---\n"+config("b")+"---\n"+strings.Replace(config("a"), "  name", "  namespace: default\n  name", 1)+"---\n"+config("c"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i, o := range set.Objects {
		names = append(names, fmt.Sprintf("%s:%d", o.GetName(), set.Position(i, "").Line))
	}
	if diff := cmp.Diff([]string{"a:1", "b:6", "c:17"}, names); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if len(set.Copies) != 1 || set.Copies[0].Name != "a" || set.Copies[0].Line != 11 || set.Copies[0].Of.Line != 1 {
		t.Errorf("copies %+v", set.Copies)
	}
}

func TestOtherNamespacesAndGroupsAreOtherObjects(t *testing.T) {
	t.Parallel()
	set, err := load(t, config("a")+"---\n"+strings.Replace(config("a"), "  name", "  namespace: b\n  name", 1)+"---\napiVersion: x.example.com/v1\nkind: ConfigMap\nmetadata: {name: a}\n")
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Objects) != 3 {
		t.Errorf("%d objects, want 3", len(set.Objects))
	}
}

// TestHostileFilesAreCheap bounds what the worst files under the caps cost; the
// bound is far from both what they cost now and what they cost undefended.
func TestHostileFilesAreCheap(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	var bomb strings.Builder
	bomb.WriteString(config("a") + "a: &a [x,x,x,x,x,x,x,x,x]\n")
	for c := 'b'; c <= 'i'; c++ {
		fmt.Fprintf(&bomb, "%c: &%c [%s]\n", c, c, strings.Repeat(fmt.Sprintf("*%c,", c-1), 9))
	}
	many := config("a") + "base: &b " + strings.Repeat("x", 1000) + "\nspec: [" + strings.Repeat("*b,", 90_000) + "]\n"
	for name, text := range map[string]string{
		"bomb":             bomb.String(),
		"many aliases":     many,
		"open brackets":    config("a") + "spec: " + strings.Repeat("[", maxFile-200),
		"open quote":       config("a") + "spec: \"" + strings.Repeat("x\n ", (maxFile-200)/3),
		"questions":        config("a") + "spec: " + strings.Repeat("? ", (maxFile-200)/2),
		"dashes":           config("a") + "spec: " + strings.Repeat("- ", (maxFile-200)/2),
		"separators":       strings.Repeat("---\n", maxFile/4),
		"keys":             config("a") + strings.Repeat("{a: 1}: \n", (maxFile-200)/9),
		"JSON, nested":     strings.Repeat(`{"a":`, (maxFile-200)/5),
		"JSON, broken":     strings.Repeat("{}\n", maxFile/3-1) + "{",
		"comments":         config("a") + strings.Repeat("#\n", (maxFile-200)/2),
		"broken documents": strings.Repeat("---\na: [\n", maxFile/9),
	} {
		started := time.Now()
		_, _ = load(t, text)
		took := time.Since(started)
		t.Logf("%-16s %8.0f ms", name, float64(took.Microseconds())/1000)
		if took > 20*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
}

// The name of an object that is to be a new one with every deploy is chosen here, so
// that a write may be repeated.
func TestLoadGeneratesNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 80) + "-"
	root := workspace(t, map[string]string{"a.yaml": "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: migrate-}\n---\napiVersion: batch/v1\nkind: Job\nmetadata: {generateName: migrate-}\n---\napiVersion: v1\nkind: Pod\nmetadata: {generateName: " + long + "}\n"})
	set, err := Load(t.Context(), Options{Root: root, Paths: []string{"a.yaml"}, Suffix: func(n int) string { return fmt.Sprint("abc", n) }})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, u := range set.Objects {
		names = append(names, u.GetName())
	}
	if diff := cmp.Diff([]string{"migrate-abc0", "migrate-abc1", long[:59] + "abc2"}, names); diff != "" {
		t.Error(diff)
	}
}
