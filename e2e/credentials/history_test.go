package credentials_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/e2e/google"
	"github.com/org/deploy-model-action/e2e/localcloud"
)

// TestHistory: a person with a token sees who deployed what; somebody without the
// right reads which one is missing.
func TestHistory(t *testing.T) {
	t.Parallel()
	x := place(t, nil)
	args := func(more ...string) []string {
		return append([]string{"history", "--cluster", localcloud.Cluster, "--zone", localcloud.Location, "--project", localcloud.Project, "--namespace", x.Namespace}, more...)
	}
	if _, err := x.Cloud.Google.CreateUser("viewer@example.com", google.RoleDeveloper); err != nil {
		t.Fatal(err)
	}
	viewer, _ := x.Cloud.Google.Issue("viewer@example.com")
	env := map[string]string{"GOOGLE_OAUTH_ACCESS_TOKEN": viewer}

	out, code := program(x, t.TempDir(), env, args()...)
	if want := "no release in namespace " + x.Namespace + "\n"; code != 0 || out != want {
		t.Errorf("of nothing: exit code %d, output\n%swant\n%s", code, out, want)
	}
	out, code = program(x, t.TempDir(), env, args("--release", "model")...)
	if code != 1 || !strings.HasPrefix(out, `no release "model" in namespace`) {
		t.Errorf("of no release: exit code %d, output\n%s", code, out)
	}
	_, err := x.Kube.CoreV1().ConfigMaps(x.Namespace).Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "deploy-model-action.model", Labels: map[string]string{"app.kubernetes.io/managed-by": "deploy-model-action"}},
		Data: map[string]string{
			"format": "1", "newest": `{"run":7,"attempt":1}`,
			"releases": `{"run":7,"attempt":1,"commit":"7777777777777777777777777777777777777777","actor":"ann","nonce":"n","outcome":"deployed","started":"2026-11-28T06:00:00Z","url":"https://github.com/acme/model/actions/runs/7"}` + "\n",
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const row = "2026-11-28 06:00  7777777  deployed         ann  https://github.com/acme/model/actions/runs/7"
	for _, more := range [][]string{nil, {"--release", "model"}} {
		if out, code = program(x, t.TempDir(), env, args(more...)...); code != 0 || !strings.Contains(out, row) || strings.Contains(out, viewer) {
			t.Errorf("history %q: exit code %d, output\n%swant\n%s", more, code, out, row)
		}
	}
	if out, code = program(x, t.TempDir(), env, args("--release", "model", "--json")...); code != 0 || !strings.HasPrefix(out, "{\n") {
		t.Errorf("as JSON: exit code %d, output\n%s", code, out)
	}

	if _, err := x.Cloud.Google.CreateUser("stranger@example.com"); err != nil {
		t.Fatal(err)
	}
	stranger, _ := x.Cloud.Google.Issue("stranger@example.com")
	out, code = program(x, t.TempDir(), map[string]string{"GOOGLE_OAUTH_ACCESS_TOKEN": stranger}, args()...)
	if code != 1 || !strings.Contains(out, "stranger@example.com") && !strings.Contains(out, "container.clusters.get") {
		t.Errorf("without a right: exit code %d, output\n%s", code, out)
	}
}
