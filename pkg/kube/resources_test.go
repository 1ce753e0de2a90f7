package kube

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	clientgen      = regexp.MustCompile(`(?m)^// ?\+genclient\s*$`)
	unpatchable    = regexp.MustCompile(`\+genclient:(noVerbs|onlyVerbs=create\b)`)
	resourceMarker = regexp.MustCompile(`\+resourceName=(\S+)`)
)

// The table holds every kind that k8s.io/api generates a patching client for,
// with the scope that its markers give.
func TestBuiltinIsComplete(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/api").Output()
	if err != nil {
		t.Skip("no go command: ", err)
	}
	files, _ := filepath.Glob(filepath.Join(string(bytes.TrimSpace(out)), "*", "*", "*.go"))
	if len(files) < 100 {
		t.Fatalf("only %d files", len(files))
	}
	groups := map[string]string{}
	kinds := 0
	for pass := range 2 {
		for _, file := range files {
			name := filepath.Base(file)
			if pass == 0 && name != "register.go" || pass == 1 && !strings.HasPrefix(name, "types") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Dir(file)
			if pass == 0 {
				ast.Inspect(parsed, func(n ast.Node) bool {
					if spec, ok := n.(*ast.ValueSpec); ok && spec.Names[0].Name == "GroupName" {
						groups[dir] = strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`)
					}
					return true
				})
				continue
			}
			for _, comment := range typesWithComments(parsed) {
				if !clientgen.MatchString(comment.text) || unpatchable.MatchString(comment.text) {
					continue
				}
				kind := schema.GroupVersionKind{Group: groups[dir], Version: filepath.Base(dir), Kind: comment.name}
				if kind.Kind == "ComponentStatus" {
					continue // read-only
				}
				kinds++
				found, ok := builtin(kind)
				if !ok {
					t.Errorf("%s is missing", kind)
					continue
				}
				if want := !strings.Contains(comment.text, "+genclient:nonNamespaced"); found.Namespaced != want {
					t.Errorf("%s: namespaced %t", kind, found.Namespaced)
				}
				if m := resourceMarker.FindStringSubmatch(comment.text); m != nil && m[1] != found.Resource {
					t.Errorf("%s: resource %s, want %s", kind, found.Resource, m[1])
				}
			}
		}
	}
	if kinds < 100 {
		t.Errorf("only %d kinds were compared", kinds)
	}
}

type commented struct{ name, text string }

// typesWithComments pairs each struct with all comments since the declaration
// before it: markers stand apart from the doc comment.
func typesWithComments(file *ast.File) []commented {
	var out []commented
	var from token.Pos
	for _, declaration := range file.Decls {
		general, ok := declaration.(*ast.GenDecl)
		if ok && general.Tok == token.TYPE && len(general.Specs) == 1 {
			var text strings.Builder
			for _, group := range file.Comments {
				if group.Pos() > from && group.End() <= general.TokPos {
					for _, line := range group.List {
						text.WriteString(line.Text + "\n")
					}
				}
			}
			out = append(out, commented{general.Specs[0].(*ast.TypeSpec).Name.Name, text.String()})
		}
		from = declaration.End()
	}
	return out
}

func TestBuiltin(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		group, version, kind string
		resource             string
		namespaced           bool
	}{
		{"", "v1", "Service", "services", true},
		{"", "v1", "Endpoints", "endpoints", true},
		{"", "v1", "Namespace", "namespaces", false},
		{"apps", "v1", "Deployment", "deployments", true},
		{"networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", true},
		{"networking.k8s.io", "v1", "Ingress", "ingresses", true},
		{"networking.k8s.io", "v1", "IPAddress", "ipaddresses", false},
		{"storage.k8s.io", "v1", "StorageClass", "storageclasses", false},
		{"storage.k8s.io", "v1", "CSIStorageCapacity", "csistoragecapacities", true},
		{"apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", false},
		{"apiregistration.k8s.io", "v1", "APIService", "apiservices", false},
		{"policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", true},
		{"", "v1", "Deployment", "", false},
		{"apps", "v2", "Deployment", "", false},
		{"example.com", "v1", "Model", "", false},
		{"authorization.k8s.io", "v1", "SubjectAccessReview", "", false},
	} {
		kind := schema.GroupVersionKind{Group: tc.group, Version: tc.version, Kind: tc.kind}
		found, ok := builtin(kind)
		if ok != (tc.resource != "") || found.GroupVersionResource.Resource != tc.resource || found.Namespaced != tc.namespaced {
			t.Errorf("%s: %+v %t", kind, found, ok)
		}
	}
}

func FuzzParseResources(f *testing.F) {
	f.Add([]byte(`{"resources":[{"name":"models","kind":"Model","namespaced":true,"verbs":["patch"]},{"name":"models/status","kind":"Model"}]}`))
	f.Add([]byte(`{"resources":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		kinds, err := parseResources(body)
		for kind, found := range kinds {
			if err != nil || kind == "" || found.Name == "" || strings.Contains(found.Name, "/") {
				t.Errorf("%q: %+v", kind, found)
			}
		}
	})
}
