package deploy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/org/deploy-model-action/pkg/kube"
)

// TestHistoryUsage: every mistake in the arguments contacts nobody.
func TestHistoryUsage(t *testing.T) {
	t.Parallel()
	step := Defaults()
	step.ClusterName, step.Zone, step.CredentialsJSON = "mlops", "europe-west6-a", testKey()
	var all strings.Builder
	for _, tt := range []struct {
		args   []string
		inputs Options
	}{
		{nil, Options{}},
		{[]string{"--help"}, Options{}},
		{[]string{"--release", "My Model", "--namespace=A_B", "extra"}, Options{}},
		{[]string{"--cluster", "mlops", "--since", "yesterday"}, Options{}},
		{[]string{"--cluster", "mlops", "--location", "europe-west6-a", "--project", "my-project"}, Options{}},
		{[]string{"--cluster", "My Cluster", "--zone", "here", "--project", "x"}, step},
		{[]string{"--location", "europe"}, step},
		{[]string{"--cluster"}, step},
		{[]string{"--location", ""}, Options{}},
		{[]string{"--cluster", "projects/x/y"}, Options{}},
		{[]string{"--cluster", "projects/my-project/locations/europe-west6/clusters/m", "--zone", "europe-west1", "--project", "other-project"}, Options{CredentialsJSON: testKey()}},
		{[]string{"--release", "a/b", "--cluster", ""}, Options{}},
		{[]string{"--json=maybe", "--cluster", "m"}, Options{}},
		{[]string{"--namespace", "", "--cluster", "m"}, Options{}},
		{[]string{"---cluster", "m"}, Options{}},
	} {
		log := &lines{}
		code := History(t.Context(), tt.args, HistoryOptions{
			Inputs: tt.inputs, Log: log,
			Runner: Runner{Getenv: func(string) string { return "" }, Transport: nothing{t}},
		})
		out := strings.Join(log.all, "\n")
		want := ExitInput
		if len(tt.args) == 1 && tt.args[0] == "--help" {
			want = ExitOK
		}
		if code != want {
			t.Errorf("%q: exit code %d, want %d", tt.args, code, want)
		}
		fmt.Fprintf(&all, "# %q\n%s\n", tt.args, strings.Replace(out, historyUsage, "(usage)", 1))
	}
	golden(t, "history-usage.golden", historyUsage+"\n\n"+all.String())
}

// record is a ConfigMap as a record is stored.
func record(name, releases string) string {
	value, _ := json.Marshal(releases)
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"deploy-model-action.%s","namespace":"models"},"data":{"format":"1","newest":"{}","releases":%s}}`, name, value)
}

// TestHistoryOutput shows what is printed of records that are there.
func TestHistoryOutput(t *testing.T) {
	t.Parallel()
	const releases = `{"run":2,"attempt":1,"commit":"2222222222222222222222222222222222222222","url":"https://github.com/acme/model/actions/runs/2/attempts/1","repository":"acme/model","actor":"ann","nonce":"b","outcome":"deployed","started":"2026-11-28T06:02:00Z","finished":"2026-11-28T06:03:00Z"}
{"run":1,"attempt":1,"commit":"1111111111111111111111111111111111111111","url":"https://github.com/acme/model/actions/runs/1/attempts/1","repository":"acme/model","actor":"ann","nonce":"a","outcome":"deployed","started":"2026-11-28T05:02:00Z","images":[{"reference":"r.example/m:1"}]}
`
	model, edited := record("model", releases), record("edited", "x")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch query := r.URL.Query(); {
		case r.Method != http.MethodGet:
			t.Errorf("%s %s", r.Method, r.URL)
		case r.URL.Path == "/api/v1/namespaces/models/configmaps/deploy-model-action.model":
			fmt.Fprint(w, model)
		case r.URL.Path == "/api/v1/namespaces/models/configmaps" && query.Get("labelSelector") == "app.kubernetes.io/managed-by=deploy-model-action" && query.Get("continue") == "":
			fmt.Fprintf(w, `{"apiVersion":"v1","kind":"ConfigMapList","metadata":{"continue":"more"},"items":[%s]}`, model)
		case r.URL.Path == "/api/v1/namespaces/models/configmaps" && query.Get("continue") == "more":
			fmt.Fprintf(w, `{"apiVersion":"v1","kind":"ConfigMapList","metadata":{},"items":[%s]}`, edited)
		case r.URL.Path == "/api/v1/namespaces/empty/configmaps":
			fmt.Fprint(w, `{"apiVersion":"v1","kind":"ConfigMapList","metadata":{},"items":[]}`)
		case r.URL.Path == "/api/v1/namespaces/missing/configmaps":
			fmt.Fprint(w, `{"apiVersion":"v1","kind":"ConfigMapList","metadata":{},"items":[]}`)
		case r.URL.Path == "/api/v1/namespaces/models", r.URL.Path == "/api/v1/namespaces/empty":
			fmt.Fprint(w, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"x"}}`)
		case r.URL.Path == "/api/v1/namespaces/secret/configmaps":
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":403,"reason":"Forbidden","message":"configmaps is forbidden: User \"ann@example.com\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"secret\""}`)
		default:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":404,"reason":"NotFound","message":"not found","details":{"name":"x"}}`)
		}
	}))
	t.Cleanup(server.Close)
	d, err := dynamic.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	client := kube.NewClient(d, nil, kube.Options{})
	var all strings.Builder
	for _, args := range [][]string{
		{"--namespace=models", "--release=model"},
		{"--namespace=models", "--release=model", "--json"},
		{"--namespace=models"},
		{"--namespace=models", "--json"},
		{"--namespace=models", "--release=other"},
		{"--namespace=empty"},
		{"--namespace=empty", "--json"},
		{"--namespace=secret"},
		{"--namespace=missing"},
		{"--namespace=missing", "--json"},
		{"--namespace=missing", "--release=model"},
	} {
		log := &lines{}
		h := &history{HistoryOptions: HistoryOptions{Log: log}}
		if err := h.parse(append(args, "--cluster=mlops")); err != nil {
			t.Fatal(err)
		}
		if err := h.show(t.Context(), client); err != nil {
			log.Printf("error: %v", err)
		}
		fmt.Fprintf(&all, "# %q\n%s\n", args, strings.Join(log.all, "\n"))
	}
	golden(t, "history.golden", all.String())
}
