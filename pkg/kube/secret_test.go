package kube_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

// A server that quotes a Secret, in whatever it answers: none of it may be said.
func TestSecretIsNeverQuoted(t *testing.T) {
	t.Parallel()
	const canary, second = "hunter2-Is-Long", "line one\nCanary \"two\" <&>\n"
	encoded := base64.StdEncoding.EncodeToString([]byte(canary))
	quote := fmt.Sprintf(`%s %s %q`, canary, encoded, second)
	forms := map[string]string{
		"text":    quote,
		"message": fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":%q,"code":CODE}`, quote),
		"reason":  fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":CODE}`, canary),
		"details": fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":CODE,"message":%q,
			"details":{"name":%[1]q,"kind":%[1]q,"causes":[{"reason":%[1]q,"message":%[1]q,"field":%[1]q},{"reason":"FieldManagerConflict","message":%[2]q,"field":%[3]q}]}}`,
			quote, fmt.Sprintf("conflict with %q", canary), canary),
		"webhook": fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":%q,"code":CODE}`, `admission webhook "`+canary+`" denied the request: `+quote),
		"calling": fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":%q,"code":CODE}`, `failed calling webhook "`+canary+`": `+quote),
		"quota":   fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":%q,"code":CODE}`, `exceeded quota: `+canary+`, requested: `+quote),
		"policy":  fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":%q,"code":CODE}`, `ValidatingAdmissionPolicy '`+canary+`' denied request: `+quote),
		"misfit":  fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":%q,"code":CODE}`, `failed to create typed patch object (a/s; v1, Kind=Secret): .data.`+canary+`: `+quote),
		"strict":  fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":%q,"code":CODE}`, `strict decoding error: unknown field "`+canary+`"`),
		"denied":  fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":%q,"code":CODE}`, `User "`+canary+`" cannot patch resource "`+encoded+`"`),
	}
	for name, form := range forms {
		for _, code := range []int{301, 400, 401, 403, 404, 405, 409, 410, 413, 415, 422, 429, 500, 502, 503, 504} {
			t.Run(fmt.Sprintf("%s %d", name, code), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					answer := strings.ReplaceAll(form, "CODE", strconv.Itoa(code))
					for _, phase := range []string{"read", "check", "write"} {
						s := kubetest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
							dry := r.URL.Query().Get("dryRun") != ""
							switch {
							case r.Method == http.MethodGet && phase != "read":
								w.WriteHeader(http.StatusNotFound)
								fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,"details":{"name":"s","kind":"secrets"}}`)
							case dry && phase == "write":
								fmt.Fprint(w, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","namespace":"models","resourceVersion":"1"}}`)
							default:
								w.WriteHeader(code)
								fmt.Fprint(w, answer)
							}
						}))
						var mu sync.Mutex
						said := ""
						client := kube.NewClient(s.Dynamic, s.REST, kube.Options{Budget: time.Millisecond, Log: func(format string, args ...any) {
							mu.Lock()
							defer mu.Unlock()
							said += fmt.Sprintf(format, args...)
						}})
						u := objecttest.FromYAML(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: models}\n")
						u.Object["data"] = map[string]any{"a": encoded}
						u.Object["stringData"] = map[string]any{"b": second}
						resource, err := client.Resource(t.Context(), u.GroupVersionKind())
						if err != nil {
							t.Fatal(err)
						}
						w := client.Apply(kube.RefOf(u, resource), u, kube.WriteOptions{})
						if err = w.Observe(t.Context()); err == nil {
							_, err = w.Send(t.Context())
						}
						for e := err; e != nil; e = errors.Unwrap(e) { // joined ones say all at the top
							said = strings.Join([]string{said, e.Error()}, "\n")
							var own *kube.ObjectError
							if !errors.As(e, &own) {
								break // what is below is for programs
							}
						}
						for _, value := range []string{canary, encoded, "Canary", "line one"} {
							if strings.Contains(said, value) {
								t.Errorf("%s: %q is said: %s", phase, value, said)
							}
						}
					}
				})
			})
		}
	}
}
