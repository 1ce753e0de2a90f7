// Package credentials_test deploys with every kind of credentials, through every
// kind of endpoint, and looks at what is refused: the action as it ships, in the
// local cloud, as its users run it.
package credentials_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/google"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/runner"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { cloudtest.Main(m) }

// golden compares a text with a file of testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(content), got); diff != "" {
		t.Errorf("%s (-want +got); if it is right, write it with -update:\n%s", path, diff)
	}
}

// deployRoles are those that a deploy needs, through the Connect gateway too.
var deployRoles = []string{google.RoleDeveloper, google.RoleReader, google.RoleGatewayEditor}

// model is one small workload that uses the seed's image.
const model = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: model
spec:
  replicas: 1
  minReadySeconds: 0
  selector:
    matchLabels: {app: model}
  template:
    metadata:
      labels: {app: model}
    spec:
      containers:
      - name: model
        image: ` + localcloud.RegistryHost + "/" + cloudtest.Model + `:latest
        ports:
        - containerPort: 3000
`

// place is a namespace with the small workload in its workspace and an image of
// the commit, or of each of several, in the registry.
func place(t *testing.T, labels map[string]string) *cloudtest.Test {
	t.Helper()
	x := cloudtest.New(t)
	x.Write("kubernetes/model.yaml", model)
	x.Push(x.SHA(0), labels)
	return x
}

// account makes a service account with the roles, and returns its e-mail and key.
func account(x *cloudtest.Test, name string, roles ...string) (email, key string) {
	x.Helper()
	email, content, err := x.Cloud.Google.CreateServiceAccount(name, roles...)
	if err != nil {
		x.Fatal(err)
	}
	return email, string(content)
}

// unique is a name that only this place has, and that an account may have.
func unique(x *cloudtest.Test, prefix string) string {
	return prefix + "-" + x.Namespace[max(0, len(x.Namespace)-5):]
}

// message is the annotations that a refused step leaves: one for each kind of mistake.
func message(t *testing.T, r *runner.Result) string {
	t.Helper()
	if len(r.Annotations) == 0 {
		t.Error("no annotation")
	}
	var all []string
	for _, a := range r.Annotations {
		if a.Level != "error" {
			t.Errorf("annotation: %+v, want errors", a)
		}
		all = append(all, a.Title+": "+a.Message)
	}
	return strings.Join(all, "\n")
}
