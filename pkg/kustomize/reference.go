//lint:file-ignore SA1019 what kustomize deprecated long ago is what many files still hold

package kustomize

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"
)

// use is what kustomize does with a path.
type use int

const (
	resource  use = iota // a file of objects, or a folder with a kustomization
	component            // a folder with a component
	text                 // a file that is read as YAML
	crd                  // the same, whose definitions name one another
	data                 // a file whose content goes into an object
	env                  // a file of KEY=VALUE lines
	plugin               // a file of generators or transformers, or a folder with a kustomization of such
)

func (u use) folders() bool { return u == resource || u == component || u == plugin }

// reference is a path in a kustomization.
type reference struct {
	value string
	use   use
	field string // as a user calls it: "resources"
	line  int
}

// references are all paths that a kustomization holds, but for those of plugins
// and of patches that may be patches themselves.
func (k *kustomization) references() []reference {
	var all []reference
	list := func(u use, field string, values []string) {
		for i, value := range values {
			all = append(all, reference{value, u, field, k.line(field, i)})
		}
	}
	list(resource, "resources", k.Resources)
	list(resource, "bases", k.Bases) //nolint:staticcheck // people have it
	list(component, "components", k.Components)
	list(crd, "crds", k.Crds)
	list(text, "configurations", k.Configurations)
	if file, ok := k.OpenAPI["path"]; ok {
		all = append(all, reference{file, text, "openapi path", k.line("openapi", "path")})
	}
	for _, p := range []struct {
		field   string
		patches []types.Patch
	}{{"patches", k.Patches}, {"patchesJson6902", k.PatchesJson6902}} { //nolint:staticcheck // people have it
		for i, patch := range p.patches {
			if patch.Path != "" {
				all = append(all, reference{patch.Path, text, p.field + " path", k.line(p.field, i, "path")})
			}
		}
	}
	for i, r := range k.Replacements {
		if r.Path != "" {
			all = append(all, reference{r.Path, text, "replacements path", k.line("replacements", i, "path")})
		}
	}
	for i, g := range k.ConfigMapGenerator {
		all = append(all, k.sources("configMapGenerator", i, g.KvPairSources)...)
	}
	for i, g := range k.SecretGenerator {
		all = append(all, k.sources("secretGenerator", i, g.KvPairSources)...)
	}
	return all
}

// sources are the files that a generator reads.
func (k *kustomization) sources(field string, i int, from types.KvPairSources) []reference {
	var all []reference
	for j, file := range from.FileSources {
		if _, after, ok := strings.Cut(file, "="); ok { // KEY=FILE
			file = after
		}
		all = append(all, reference{file, data, field + " files", k.line(field, i, "files", j)})
	}
	for j, file := range from.EnvSources {
		all = append(all, reference{file, env, field + " envs", k.line(field, i, "envs", j)})
	}
	if from.EnvSource != "" {
		all = append(all, reference{from.EnvSource, env, field + " env", k.line(field, i, "env")})
	}
	return all
}

// line is where a field is written, or what is nearest above it.
func (k *kustomization) line(field ...any) int {
	return k.base + k.at(field...).Line
}

func (k *kustomization) at(field ...any) *yaml.Node {
	n := k.node
	for _, step := range field {
		next := child(n, step)
		if next == nil {
			break
		}
		n = next
	}
	return n
}

// child is a value of a mapping, by a key in whatever letters, or an item of a list.
func child(n *yaml.Node, step any) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	switch step := step.(type) {
	case string:
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if strings.EqualFold(n.Content[i].Value, step) {
				return n.Content[i+1]
			}
		}
	case int:
		if n.Kind == yaml.SequenceNode && step < len(n.Content) {
			return n.Content[step]
		}
	}
	return nil
}

// keyLine is the line of a key at the top.
func (k *kustomization) keyLine(key string) int {
	for i := 0; i+1 < len(k.node.Content); i += 2 {
		if strings.EqualFold(k.node.Content[i].Value, key) {
			return k.base + k.node.Content[i].Line
		}
	}
	return 1
}

var unknownField = regexp.MustCompile(`unknown field "([^"]*)"|Go struct field Kustomization\.(\w+)`)

// culprit is the line that an error of the decoder is about.
func (k *kustomization) culprit(err error) int {
	m := unknownField.FindStringSubmatch(err.Error())
	if m == nil {
		return k.base + k.node.Line
	}
	return k.keyLine(m[1] + m[2])
}

// Whatever begins like this kustomize may fetch: over HTTP, or by git. It looks
// for the latter also behind a login, and takes GitHub's name without a scheme.
var (
	schemed = regexp.MustCompile(`(?i)^[a-z][a-z0-9+.-]*:/|^(git|https?|ssh|file):|://`)
	login   = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]*@`)
)

// remote reports whether kustomize could take a path, or the text of a patch that
// may be a path too, for an address.
func remote(value string) bool {
	value = strings.TrimLeftFunc(value, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
	if first, _, several := strings.Cut(value, "\n"); several {
		value = first // the rest of a patch may hold addresses
	}
	lower := strings.ToLower(value)
	return schemed.MatchString(value) || login.MatchString(value) || strings.HasPrefix(lower, "git::") ||
		strings.HasPrefix(lower, "github.com/") || strings.HasPrefix(lower, "github.com:")
}

// quoted is a path in an error: cut, since nothing bounds it.
func quoted(value string) string {
	const most = 120
	if len(value) > most {
		value = strings.ToValidUTF8(value[:most], "") + "…"
	}
	return strconv.Quote(value)
}
