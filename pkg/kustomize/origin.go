//lint:file-ignore SA1019 what kustomize deprecated long ago is what many files still hold

package kustomize

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/resid"
	"sigs.k8s.io/yaml"
)

// mark is the annotation that leads from what was built to where it was written.
const mark = "deploy-model-action/origin"

// build builds the kustomization, with the origins of its objects. For that every
// object is marked in its file, and the mark taken off again. Where a mark could
// change what is built, such as by a patch that adds an annotation and needs one to
// be there, the build without marks is what counts, and one with marks only says
// where things are from.
func (s *scan) build(ctx context.Context) ([]Object, error) {
	m := &marker{scan: s, instead: map[string][]byte{}}
	m.files()
	m.generators()
	marked, err := run(ctx, s.tree.with(m.instead), s.dir)
	if err != nil && ends(err) {
		return nil, err
	}
	if err == nil && !s.sensitive() && !slices.ContainsFunc(marked, func(b built) bool { return b.strayed }) {
		return m.origins(marked, marked), nil
	}
	plain, err := run(ctx, s.tree, s.dir)
	if err != nil {
		return nil, err
	}
	return m.origins(plain, marked), nil
}

// ends reports whether another build would fare no better.
func ends(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errTime) || errors.Is(err, errMemory)
}

// sensitive reports whether something in the kustomizations may look at marks: an
// operation on annotations, or what takes values from them.
func (s *scan) sensitive() bool {
	for _, k := range s.kustomizations {
		if k == nil {
			continue
		}
		fields := []any{k.Replacements, k.Vars, k.Generators, k.Transformers, k.Validators} //nolint:staticcheck // people have it
		for _, patch := range slices.Concat(k.Patches, k.PatchesJson6902) {                 //nolint:staticcheck // people have it
			if operation.MatchString(patch.Patch) {
				fields = append(fields, patch.Patch)
			}
		}
		text, err := json.Marshal(fields)
		if err != nil || annotation.Match(text) {
			return true
		}
	}
	for file := range s.documents {
		content := s.tree.files[file]
		if !s.objects[file] && annotation.Match(content) && (operation.Match(content) || !bytes.Contains(content, []byte("metadata"))) {
			return true
		}
	}
	return false
}

var (
	annotation = regexp.MustCompile(`(?i)annotation`)
	operation  = regexp.MustCompile(`\bop["']?\s*:`) // of a JSON patch
)

// origins are the objects of a build, with where they are from by the marks of the
// same build or of another one.
func (m *marker) origins(of, marked []built) []Object {
	objects := make([]Object, len(of))
	for i, b := range of {
		n := -1
		if len(marked) == len(of) && marked[i].id == b.id {
			if number, err := strconv.Atoi(marked[i].mark); err == nil {
				n = number
			}
		}
		if n >= 0 && n < len(m.marked) {
			objects[i] = m.marked[n]
		} else {
			objects[i] = m.likely(b.id)
		}
		objects[i].JSON = b.json
	}
	return objects
}

// likely is where an object without a mark comes from: the one of its kind whose
// name is the most of its name, or else the kustomization itself.
func (s *scan) likely(id resid.ResId) Object {
	k := s.kustomizations[s.dir]
	origin, most := Object{File: k.file, Document: Document{Node: k.node, Base: k.base}}, 0
	for _, file := range slices.Sorted(maps.Keys(s.objects)) {
		for _, doc := range s.documents[file] {
			object, _ := doc.Value.(map[string]any)
			metadata, _ := object["metadata"].(map[string]any)
			name, _ := metadata["name"].(string)
			if object["kind"] == id.Kind && strings.Contains(id.Name, name) && len(name) > most {
				origin, most = Object{File: file, Document: doc}, len(name)
			}
		}
	}
	return origin
}

// marker writes marked files.
type marker struct {
	*scan
	instead map[string][]byte
	marked  []Object // by number
}

// next is a mark for an object.
func (m *marker) next(o Object) string {
	m.marked = append(m.marked, o)
	return strconv.Itoa(len(m.marked) - 1)
}

// files marks the objects in files of resources.
func (m *marker) files() {
	for _, file := range slices.Sorted(maps.Keys(m.objects)) {
		text := annotating(m.tree.files[file])
		for _, doc := range m.documents[file] {
			text.annotate(doc, m.next(Object{File: file, Document: doc}))
		}
		m.instead[file] = text.bytes()
	}
}

// generators marks what kustomizations generate.
func (m *marker) generators() {
	for _, dir := range slices.Sorted(maps.Keys(m.kustomizations)) {
		k := m.kustomizations[dir]
		if k == nil || len(k.ConfigMapGenerator)+len(k.SecretGenerator) == 0 {
			continue
		}
		with := k.Kustomization
		with.ConfigMapGenerator = slices.Clone(k.ConfigMapGenerator)
		with.SecretGenerator = slices.Clone(k.SecretGenerator)
		for i := range with.ConfigMapGenerator {
			m.generator(&with.ConfigMapGenerator[i].GeneratorArgs, k, "configMapGenerator", i)
		}
		for i := range with.SecretGenerator {
			m.generator(&with.SecretGenerator[i].GeneratorArgs, k, "secretGenerator", i)
		}
		var again types.Kustomization
		text, err := yaml.Marshal(with)
		if err == nil && again.Unmarshal(text) == nil && reflect.DeepEqual(with, again) {
			m.instead[m.tree.places[k.file]] = text
		}
	}
}

func (m *marker) generator(args *types.GeneratorArgs, k *kustomization, field string, i int) {
	var options types.GeneratorOptions
	if args.Options != nil {
		options = *args.Options
	}
	options.Annotations = maps.Clone(options.Annotations)
	if options.Annotations == nil {
		options.Annotations = map[string]string{}
	}
	options.Annotations[mark] = m.next(Object{File: k.file, Document: Document{Node: k.at(field, i), Base: k.base}})
	args.Options = &options
}
