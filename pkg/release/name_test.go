package release

import (
	"strings"
	"testing"
)

func TestName(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 250)
	seen := map[string]string{}
	for _, tt := range []struct {
		repository string
		manifests  []string
		want       string
	}{
		{"acme/model", []string{"kubernetes"}, "model"},
		{"acme/model", []string{"./kubernetes/"}, "model"},
		{"acme/model", nil, "model"},
		{"acme/Model", []string{"kubernetes"}, "model"},
		{"acme/model", []string{"deploy/prod"}, "model.deploy.prod"},
		{"acme/model", []string{"kubernetes/prod"}, "model.kubernetes.prod"},
		{"acme/model", []string{"deploy.prod"}, "model.deploy-prod-"},
		{"acme/model", []string{"deploy/app.yaml"}, "model.deploy.app-yaml-"},
		{"acme/model", []string{"a", "b"}, "model.a.b-"},
		{"acme/model", []string{"b", "a"}, "model.a.b-"},
		{"acme/model", []string{"**/*.yaml"}, "model.yaml-"},
		{"acme/model.deploy", []string{"kubernetes"}, "model-deploy-"},
		{"acme/model_x", []string{"kubernetes"}, "model-x-"},
		{"acme/model--x", []string{"kubernetes"}, "model--x"},
		{"acme/.github", []string{"kubernetes"}, "github-"},
		{"acme/---", []string{"kubernetes"}, "-"},
		{"acme/" + long, []string{"kubernetes"}, strings.Repeat("a", 191) + "-"},
		{"acme/" + long, []string{"prod"}, strings.Repeat("a", 191) + "-"},
		{"", []string{"kubernetes"}, "default"},
		{"acme/Modèle", []string{"kubernetes"}, "mod-le-"},
	} {
		got := Name(tt.repository, tt.manifests)
		if err := ValidateName(got); err != nil {
			t.Errorf("%q %q: %v", tt.repository, tt.manifests, err)
		}
		prefix, hashed := strings.CutSuffix(tt.want, "-")
		if hashed && len(got) != len(prefix)+9 && prefix != "" || !hashed && got != tt.want || !strings.HasPrefix(got, prefix) {
			t.Errorf("%q %q: %q, want %q", tt.repository, tt.manifests, got, tt.want)
		}
		key := strings.ToLower(tt.repository) + " " + strings.ReplaceAll(tt.want, "./", "")
		if other, ok := seen[got]; ok && other != key {
			t.Errorf("%q is the name of %q and of %q", got, other, key)
		}
		seen[got] = key
	}
	if a, b := Name("acme/model", []string{"a", "b"}), Name("acme/model", []string{"a/b"}); a == b {
		t.Errorf("two sets have the name %q", a)
	}
	if a, b := Name("acme/model_x", nil), Name("other/model_x", nil); a == b {
		t.Errorf("two repositories have the name %q", a)
	}
}

func TestValidateName(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"model": true, "a.b-c": true, "0": true, strings.Repeat("a", 200): true,
		"": false, "Model": false, "a_b": false, "-a": false, "a-": false, "a..b": false, "a.-b": false, "a b": false, "a/b": false, strings.Repeat("a", 201): false, "ä": false,
	} {
		if err := ValidateName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	want := `release "Model": is not a name that Kubernetes takes: write small letters, digits, dashes and dots, with a letter or digit at both ends, 200 characters at most`
	if err := ValidateName("Model"); err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}
