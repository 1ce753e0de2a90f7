package serving

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// workspace is a folder with files, and a file beside it that nobody may read.
func workspace(tb testing.TB, files map[string]string) *os.Root {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "workspace")
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(dir), "secret"), []byte("top secret"), 0o600); err != nil {
		tb.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = root.Close() })
	return root
}

const earth = "\xff\xd8\xff\xe0\x00\x10JFIF picture"

func TestParseSmokeTest(t *testing.T) {
	t.Parallel()
	root := workspace(t, map[string]string{
		"smoke.yaml": `# what our users ask
requests:
  - name: a picture of Earth
    path: /predict?top=3
    form:
      image: "@samples/earth.jpg"
      rows: ["@samples/rows.csv", "@@handle"]
      top_k: 3
    expect:
      status: 200
      that: ["{.prediction} == Earth", "{.probabilities[2]} >= 0.9"]
      within: 2s
    repeat: 5
  - path: /v1/predict
    json: {instances: [[1, 2.50, 12345678901234567890]], day: 2024-01-01, yes: no, on: true, nothing: null, text: "5"}
    headers: {X-Model-Version: 7, content-type: application/json; charset=utf-8}
    expect: {that: "{.ok} == true"}
  - path: /raw
    method: PUT
    body: "@samples/rows.csv"
  - path: /text
    body: '{"a": 1}'
  - path: /readyz
    expect: {status: 204}
`,
		"samples/earth.jpg": earth, "samples/rows.csv": "a,b\n1,2\n",
	})
	test, err := ParseSmokeTest(t.Context(), root, "./smoke.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, r := range test.Requests {
		fmt.Fprintf(&got, "%d %q: %s %s ×%d, expects %s\n", r.Line, r.Name, r.Method, r.Path, r.Repeat, strings.Join(r.Expect.words(), ", "))
		_ = r.Header.Write(&got)
		fmt.Fprintf(&got, "%s\n", strings.ReplaceAll(string(r.Body), "\r\n", "\n"))
	}
	golden(t, "smoke.txt", strings.ToValidUTF8(got.String(), "?"))
	if test.File != "smoke.yaml" || test.asked() != 9 {
		t.Errorf("file %q, asks %d times", test.File, test.asked())
	}
	// As FastAPI and BentoML read it.
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x/", strings.NewReader(string(test.Requests[0].Body)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = test.Requests[0].Header
	if err := request.ParseMultipartForm(1 << 20); err != nil {
		t.Fatal(err)
	}
	image, rows := request.MultipartForm.File["image"][0], request.MultipartForm.File["rows"]
	if image.Filename != "earth.jpg" || image.Header.Get("Content-Type") != "image/jpeg" || image.Size != int64(len(earth)) || len(rows) != 1 ||
		request.FormValue("rows") != "@handle" || request.FormValue("top_k") != "3" {
		t.Errorf("image %+v, rows %d, form %v", image, len(rows), request.Form)
	}
}

// TestSmokeTestMistakes holds that every mistake of a file is found offline, and
// with its line.
func TestSmokeTestMistakes(t *testing.T) {
	t.Parallel()
	one := func(lines string) string {
		return "requests:\n  - path: /predict\n" + strings.ReplaceAll("    "+lines, "\n", "\n    ") + "\n"
	}
	deep := strings.Repeat("[", 150) + strings.Repeat("]", 150)
	tests := map[string]string{
		"empty":                 "",
		"no map":                "- path: /x\n",
		"no requests":           "requests: []\n",
		"other keys":            "request:\n  - path: /x\nversion: 2\n",
		"two documents":         one("") + "---\n" + one(""),
		"not YAML":              "requests: [\n",
		"no path":               "requests:\n  - name: x\n",
		"key twice":             one("name: a\nname: b"),
		"all at once":           "requests:\n  - path: predict\n    repeat: 0\n    methods: GET\n    expect: {within: soon, status: 99, that: [\"{.a} = 1\"], code: 200}\n  - name: no path\n",
		"condition unquoted":    one("expect:\n  that: [{.prediction} == Earth]"),
		"condition a map":       one("expect: {that: [{a: b}]}"),
		"other kinds":           one("name: [a]\nmethod: {a: b}\nrepeat: [1]\nheaders: [a]\nform: [a]\nexpect: {status: [200], within: [2s], that: [[a]]}"),
		"other values":          one("name: \"\"\nmethod: FETCH\nrepeat: often\nheaders: {X-A: b, x-a: c}\nexpect: {status: OK, within: 0s, that: [\"jsonpath={.a}=1\", \"{.a} > b\", \"\"]}"),
		"nothing written":       one("name:\nmethod:\nrepeat:\nheaders:\nbody:\nexpect: {status: , within: , that: }"),
		"an empty form":         one("form: {}"),
		"expect a text":         one("expect: 200"),
		"requests a map":        "requests: {path: /x}\n",
		"a request a text":      "requests: [/x]\n",
		"a path that is a list": "requests: [{path: [a]}]\n",
		"two bodies":            one("json: {}\nbody: x"),
		"GET with a body":       one("method: GET\njson: {}"),
		"method":                one("method: CONNECT"),
		"json of a file":        one(`json: "@samples/x.json"`),
		"json not a number":     one("json: {a: .inf}"),
		"json with a map key":   one("json: {{a: b}: c}"),
		"file missing":          one(`body: "@samples/none.json"`),
		"folder":                one(`body: "@samples"`),
		"no file":               one(`body: "@"`),

		"escape":             one(`body: "@../secret"`),
		"absolute":           one(`body: "@/etc/passwd"`),
		"link":               one(`form: {image: "@link"}`),
		"FIFO":               one(`body: "@fifo"`),
		"device":             one(`body: "@device"`),
		"credentials":        one(`body: "@gha-creds-0123456789abcdef.json"`),
		"named credentials":  one(`body: "@key.json"`),
		"large":              one(`body: "@large"`),
		"large in all":       one(`form: {a: ["@big", "@big", "@big", "@big", "@big"]}`),
		"aliases":            "a: &a [x, x, x, x]\nb: &b [*a, *a, *a]\nrequests: [*b, *b]\n",
		"nesting":            one("json: " + deep),
		"many requests":      "requests:\n" + strings.Repeat("  - path: /x\n", 101),
		"repeat":             one("repeat: 1000000"),
		"repeats in all":     "requests:\n" + strings.Repeat("  - {path: /x, repeat: 100}\n", 11),
		"many conditions":    one("expect: {that: [" + strings.Repeat(`"{.a} == 1", `, 51) + "]}"),
		"many headers":       one("headers: {" + strings.Join(numbered("X-%d: a", 33), ", ") + "}"),
		"long within":        one("expect: {within: 24h}"),
		"condition selects":  one(`expect: {that: "{..a..b} == 1"}`),
		"name of many lines": one("name: \"a\\n::error::b\""),

		"another host":     "requests:\n  - path: //evil.example.com/predict\n",
		"URL":              "requests:\n  - path: http://evil.example.com/\n",
		"bad escape":       "requests:\n  - path: /%zz\n",
		"backslash":        "requests:\n  - path: '/\\evil.example.com'\n",
		"user":             "requests:\n  - path: '@evil.example.com'\n",
		"line break":       "requests:\n  - path: \"/a\\r\\nHost: evil\"\n",
		"escaped break":    "requests:\n  - path: /a%0d%0aHost:%20evil\n",
		"upwards":          "requests:\n  - path: /../../secrets\n",
		"upwards, escaped": "requests:\n  - path: /%2e%2e/%2e%2e/secrets\n",
		"fragment":         "requests:\n  - path: /a#b\n",
		"space":            "requests:\n  - path: /a b\n",
		"bidi":             "requests:\n  - path: \"/a\\u202eb\"\n",

		"headers":             one("headers: {Host: evil, authorization: Bearer x, Proxy-Authorization: x, Impersonate-User: admin, X-Remote-User: admin, Transfer-Encoding: chunked, Content-Length: 5, Cookie: a, X-Forwarded-Host: evil, Connection: close}"),
		"header with a break": one("headers: {X-A: \"a\\r\\nHost: evil\", \"X B\": c, \"X:C\": d, X-D: [a]}"),
	}
	root := workspace(t, map[string]string{
		"samples/x.json": "{}", "gha-creds-0123456789abcdef.json": "{}", "key.json": "{}",
		"large": strings.Repeat("x", maxSmokeFile+1), "big": strings.Repeat("x", maxSmokeFile),
	})
	dir := root.Name()
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"link": "../secret", "device": "/dev/zero", "linked.yaml": "../secret"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	skip := func(name string) bool { return name == "key.json" }
	var all strings.Builder
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		if err := os.WriteFile(filepath.Join(dir, "smoke.yaml"), []byte(tests[name]), 0o600); err != nil {
			t.Fatal(err)
		}
		test, err := ParseSmokeTest(t.Context(), root, "smoke.yaml", skip)
		if err == nil || test != nil || strings.Contains(err.Error(), "top secret") {
			t.Errorf("%s: %+v, error %v", name, test, err)
		}
		fmt.Fprintf(&all, "== %s\n%v\n", name, err)
	}
	for _, name := range []string{"../secret", "/etc/passwd", "linked.yaml", "fifo", "device", "samples", "none.yaml", "gha-creds-0123456789abcdef.json", "large", "smoke.yaml/x", ""} {
		_, err := ParseSmokeTest(t.Context(), root, name, skip)
		fmt.Fprintf(&all, "== the file %q\n%v\n", name, err)
	}
	golden(t, "smoke-mistakes.txt", all.String())
}

func numbered(format string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(format, i)
	}
	return all
}

// FuzzSmokeTest holds that no file stops the program, leads elsewhere or asks without end.
func FuzzSmokeTest(f *testing.F) {
	for _, text := range []string{
		"requests: [{path: /x, json: {a: [1, b]}, expect: {that: ['{.a} == 1'], within: 1s, status: 200}, repeat: 3, headers: {A: b}, name: x, method: PUT}]",
		"requests: [{path: /x, form: {a: '@samples/a', b: [1, '@@c']}}]", "requests: [{path: /x?a=%20, body: '@../secret'}]", "a: &a [*a]", "requests: !!binary x",
	} {
		f.Add(text)
	}
	root := workspace(f, map[string]string{"samples/a": "a"})
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(filepath.Join(root.Name(), "smoke.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		test, err := ParseSmokeTest(t.Context(), root, "smoke.yaml", nil)
		if err != nil {
			return
		}
		if test.asked() > maxAsked || test.asked() < 1 {
			t.Errorf("asks %d times", test.asked())
		}
		for _, r := range test.Requests {
			if r.Path == nil || r.Path.Host != "" || r.Path.Scheme != "" || !strings.HasPrefix(r.Path.Path, "/") || strings.HasPrefix(r.Path.RequestURI(), "//") {
				t.Errorf("asks %v", r.Path)
			}
			if strings.Contains(string(r.Body), "top secret") {
				t.Error("reads outside of the workspace")
			}
			if diff := cmp.Diff("", r.Header.Get("Authorization")+r.Header.Get("Host")); diff != "" {
				t.Error(diff)
			}
		}
	})
}
