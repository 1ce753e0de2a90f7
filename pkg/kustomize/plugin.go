//lint:file-ignore SA1019 what kustomize deprecated long ago is what many files still hold

package kustomize

import (
	"encoding/json"
	"reflect"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/resmap"
	res "sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
)

// builtin are the generators and transformers that are part of kustomize.
var builtin = map[string]bool{
	"AnnotationsTransformer": true, "ConfigMapGenerator": true, "HashTransformer": true, "IAMPolicyGenerator": true, "ImageTagTransformer": true,
	"LabelTransformer": true, "NamespaceTransformer": true, "PatchJson6902Transformer": true, "PatchStrategicMergeTransformer": true,
	"PatchTransformer": true, "PrefixSuffixTransformer": true, "PrefixTransformer": true, "SuffixTransformer": true,
	"ReplacementTransformer": true, "ReplicaCountTransformer": true, "SecretGenerator": true, "ValueAddTransformer": true,
}

// plugin scans an item of generators, transformers or validators: a text, a file,
// or the kustomization in a folder. Its paths count from the kustomization for
// which it runs.
func (s *scan) plugin(k, of *kustomization, r reference) weight {
	if !remote(r.value) {
		if inline, err := s.factory.NewResMapFromBytes([]byte(r.value)); err == nil {
			w := s.written(k, r.value, &yaml.Node{Line: r.line - k.base})
			w.add(s.plugins(of, inline, k.file, r, nil))
			return w
		}
	}
	real, ok := s.locate(k, r)
	switch {
	case !ok || s.tree.dirs[real] && !s.enter(k, r, real):
		return weight{}
	case s.tree.dirs[real]:
		return s.pluginFolder(real, of, r)
	}
	before := len(s.errs)
	w := s.look(real, r)
	if len(s.errs) > before {
		return w
	}
	configs, err := s.factory.NewResMapFromBytes(s.tree.files[real])
	if err != nil {
		s.refuse(real, 1, "the file is named in %s and is none: each needs apiVersion, kind and metadata.name", r.field)
		return w
	}
	r.line = 1
	w.add(s.plugins(of, configs, real, r, s.documents[real]))
	return w
}

// pluginFolder scans a kustomization that lists plugins: nothing in it may change
// them, so that what was scanned is what runs.
func (s *scan) pluginFolder(dir string, of *kustomization, r reference) weight {
	w := weight{kustomizations: 1}
	if s.inConfigs++; s.inConfigs > maxKustomizations {
		s.refuse(of.file, r.line, "%s come to more than %d kustomizations: name fewer", r.field, maxKustomizations)
		return w
	}
	k := s.read(dir)
	if k == nil {
		return w
	}
	s.above = append(s.above, dir)
	defer func() { s.above = s.above[:len(s.above)-1] }()
	rest := k.Kustomization
	rest.TypeMeta, rest.MetaData, rest.Resources, rest.Bases = types.TypeMeta{}, nil, nil, nil //nolint:staticcheck // people have it
	if !reflect.DeepEqual(rest, types.Kustomization{}) {
		s.refuse(k.file, 1, "the kustomization is named in %s of %s, and may hold nothing but resources there: write what they are to be into their files", r.field, of.file)
		return w
	}
	for i, value := range k.Resources {
		w.add(s.plugin(k, of, reference{value, plugin, "resources", k.line("resources", i)}))
	}
	for i, value := range k.Bases { //nolint:staticcheck // people have it
		w.add(s.plugin(k, of, reference{value, plugin, "bases", k.line("bases", i)}))
	}
	return w
}

// plugins scans what kustomize read as generators or transformers.
func (s *scan) plugins(of *kustomization, configs resmap.ResMap, file string, r reference, docs []Document) weight {
	var w weight
	for i, config := range configs.Resources() {
		line := r.line
		if len(docs) == configs.Size() {
			line = docs[i].Base + docs[i].Node.Line
		}
		// What a plugin names is what a field of a kustomization would.
		as := &kustomization{dir: of.dir, file: file, node: &yaml.Node{Line: line}}
		gvk := config.GetGvk()
		switch {
		case gvk.Kind == "HelmChartInflationGenerator":
			s.refuse(file, line, "%s: HelmChartInflationGenerator is a Helm chart, and no program is started here: run `helm template --no-hooks` in an earlier step, and name the file with its result in resources", r.field)
		case gvk.Group != "" || gvk.Version != "builtin" || !builtin[gvk.Kind]:
			s.refuse(file, line, "%s: %s is no part of kustomize but a program or a container, and none is started here: run `kustomize build` in an earlier step, and name the file with its result in manifests", r.field, quoted(gvk.Kind))
		case as.holds(gvk.Kind, config) != nil:
			s.refuse(file, line, "%s: a field of %s is of another type than kustomize's: check its fields", r.field, gvk.Kind)
		default:
			w.add(s.content(as))
		}
	}
	return w
}

// holds fills in the fields of a kustomization that a plugin stands for, as far as
// they name files or hold patches.
func (k *kustomization) holds(kind string, config *res.Resource) error {
	text, err := config.MarshalJSON()
	if err != nil {
		return err
	}
	read := func(into any) {
		if err == nil {
			err = json.Unmarshal(text, into)
		}
	}
	switch kind {
	case "ConfigMapGenerator":
		k.ConfigMapGenerator = make([]types.ConfigMapArgs, 1)
		read(&k.ConfigMapGenerator[0])
	case "SecretGenerator":
		k.SecretGenerator = make([]types.SecretArgs, 1)
		read(&k.SecretGenerator[0])
	case "PatchTransformer":
		k.Patches = make([]types.Patch, 1)
		read(&k.Patches[0])
	case "ReplacementTransformer":
		read(&struct {
			Replacements *[]types.ReplacementField `json:"replacements"`
		}{&k.Replacements})
	case "PatchJson6902Transformer":
		var c struct {
			Path   string `json:"path"`
			JSONOp string `json:"jsonOp"`
		}
		read(&c)
		k.Patches = []types.Patch{{Path: c.Path, Patch: c.JSONOp}}
	case "PatchStrategicMergeTransformer":
		var c struct {
			Paths   []types.PatchStrategicMerge `json:"paths"`
			Patches string                      `json:"patches"`
		}
		read(&c)
		k.PatchesStrategicMerge = c.Paths //nolint:staticcheck // kustomize has it
		if c.Patches != "" {
			k.Patches = []types.Patch{{Patch: c.Patches}}
		}
	case "ValueAddTransformer":
		var c struct {
			File string `json:"targetFilePath"`
		}
		read(&c)
		if c.File != "" {
			k.Configurations = []string{c.File}
		}
	}
	return err
}
