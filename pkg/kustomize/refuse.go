//lint:file-ignore SA1019 what kustomize deprecated long ago is what many files still hold

package kustomize

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"
)

// refuseForeign refuses what a kustomization asks of other programs, and what
// kustomize would quote in an error though it may be a secret.
func (s *scan) refuseForeign(k *kustomization) {
	for _, field := range []string{"helmCharts", "helmChartInflationGenerator", "helmGlobals"} {
		if child(k.node, field) != nil {
			s.refuse(k.file, k.keyLine(field), "%s is a Helm chart, and no program is started here: run `helm template --no-hooks` in an earlier step, and name the file with its result in resources", field)
		}
	}
	for i, g := range k.ConfigMapGenerator {
		s.literals(k, "configMapGenerator", i, g.KvPairSources)
	}
	for i, g := range k.SecretGenerator {
		s.literals(k, "secretGenerator", i, g.KvPairSources)
	}
}

func (s *scan) literals(k *kustomization, field string, i int, from types.KvPairSources) {
	for j, literal := range from.LiteralSources {
		if at := strings.IndexByte(literal, '='); at <= 0 {
			s.refuse(k.file, k.line(field, i, "literals", j), "%s: a literal is written KEY=VALUE", field)
		}
	}
	for j, file := range from.FileSources {
		if n := strings.Count(file, "="); n > 1 || n == 1 && (strings.HasPrefix(file, "=") || strings.HasSuffix(file, "=")) {
			s.refuse(k.file, k.line(field, i, "files", j), "%s: a file is written FILE or KEY=FILE", field)
		}
	}
}

var variable = regexp.MustCompile(`^[-._a-zA-Z][-._a-zA-Z0-9]*$`)

// environment refuses a file of variables that is none: kustomize's error would
// hold the line, and the line may be a key.
func (s *scan) environment(file string) {
	n := 0
	for line := range strings.SplitSeq(string(s.tree.files[file]), "\n") {
		if n++; n == 1 {
			line = strings.TrimPrefix(line, "\ufeff")
		}
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if name, _, _ := strings.Cut(line, "="); !variable.MatchString(name) {
			s.refuse(file, n, "the line is not KEY=VALUE: correct it, or name the file in files, which takes it as it is")
			return
		}
	}
}

// inline scans the patches that are written into a kustomization, or named there
// in the place of such, and the plugins.
func (s *scan) inline(k *kustomization) weight {
	var w weight
	for i, patch := range k.Patches {
		w.add(s.patch(k, patch.Patch, "patches", i, "patch"))
	}
	for i, patch := range k.PatchesJson6902 { //nolint:staticcheck // people have it
		w.add(s.patch(k, patch.Patch, "patchesJson6902", i, "patch"))
	}
	for i, patch := range k.PatchesStrategicMerge { //nolint:staticcheck // people have it
		w.add(s.mergePatch(k, string(patch), reference{field: "patchesStrategicMerge", line: k.line("patchesStrategicMerge", i)}))
	}
	for _, p := range []struct {
		field  string
		values []string
	}{{"generators", k.Generators}, {"transformers", k.Transformers}, {"validators", k.Validators}} {
		for i, value := range p.values {
			w.add(s.plugin(k, k, reference{value, plugin, p.field, k.line(p.field, i)}))
		}
	}
	return w
}

// patch scans a text that is a patch.
func (s *scan) patch(k *kustomization, content string, field ...any) weight {
	if content == "" {
		return weight{}
	}
	return s.written(k, content, k.at(field...))
}

// mergePatch scans what is a patch, or a file of patches, whatever kustomize will
// take it for.
func (s *scan) mergePatch(k *kustomization, value string, r reference) weight {
	if _, err := s.factory.RF().SliceFromBytes([]byte(value)); err == nil && !remote(value) {
		return s.written(k, value, k.at(r.field))
	}
	r.value, r.use = value, text
	return s.follow(k, r)
}

// written scans YAML that stands in a field of a kustomization.
func (s *scan) written(k *kustomization, content string, at *yaml.Node) weight {
	before := k.base + at.Line
	if at.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
		before-- // it begins on the line of its key
	}
	decoded := s.o.Decode(k.file, before, []byte(content))
	s.errs = append(s.errs, decoded.Errs...)
	return weight{bytes: decoded.Bytes, values: decoded.Values}
}

// recursion refuses definitions that lead back to themselves, which kustomize
// follows until its stack is full, and those that fan out.
func (s *scan) recursion(file string) {
	for _, doc := range s.documents[file] {
		types, _ := doc.Value.(map[string]any)
		g := graph{types: types, ways: map[string]int{}}
		for name := range types {
			if g.count(name) > maxWays {
				s.refuse(file, doc.Base+doc.Node.Line, "the definitions lead back to themselves, or to one another in more than %d ways: remove those that hold no names, labels or annotations", maxWays)
				return
			}
		}
	}
}

// maxWays is how often kustomize may look at a definition.
const maxWays = 1000

// graph is definitions that name one another.
type graph struct {
	types map[string]any
	ways  map[string]int // in which definitions are reached from one; of one that is being counted, too many
}

func (g *graph) count(name string) int {
	if n, ok := g.ways[name]; ok {
		return n
	}
	g.ways[name] = maxWays + 1
	n := 1
	definition, _ := g.types[name].(map[string]any)
	schema, _ := fold(definition, "schema").(map[string]any)
	properties, _ := fold(schema, "properties").(map[string]any)
	for _, property := range properties {
		fields, _ := property.(map[string]any)
		if to, ok := fold(fields, "$ref").(string); ok {
			n = min(n+g.count(to), maxWays+1)
		}
	}
	g.ways[name] = n
	return n
}

// fold finds a key as Go's JSON does, in whatever letters.
func fold(in map[string]any, key string) any {
	for name, value := range in {
		if strings.EqualFold(name, key) {
			return value
		}
	}
	return nil
}
