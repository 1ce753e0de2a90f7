package workload

import (
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
)

// Read is a ConfigMap or Secret that pods read when they start.
type Read struct {
	Kind, Name string
	Keys       []string // the only ones that they read; none: all
}

// String names what is read: "ConfigMap/settings".
func (r Read) String() string { return r.Kind + "/" + r.Name }

// Reads are the ConfigMaps and Secrets that the pods of an object read, through the
// environment or a volume of any container: of every kind that has pods somewhere in
// its spec. What a node needs to pull an image or to mount a disk is no such thing.
func Reads(u *unstructured.Unstructured) []Read {
	if object.IsConfig(object.Of(u)) {
		return nil
	}
	r := reader{}
	r.walk("", u.Object["spec"])
	var all []Read
	for _, name := range slices.Sorted(maps.Keys(r)) {
		all = append(all, *r[name])
	}
	return all
}

// reader collects what is read, by its name.
type reader map[string]*Read

// walk goes through a spec; key is the field, or the list, in which a value is.
func (r reader) walk(key string, value any) {
	switch v := value.(type) {
	case map[string]any:
		switch key {
		case "valueFrom":
			r.keyOf("ConfigMap", v["configMapKeyRef"])
			r.keyOf("Secret", v["secretKeyRef"])
			return
		case "envFrom":
			r.whole("ConfigMap", v["configMapRef"], "name")
			r.whole("Secret", v["secretRef"], "name")
			return
		case "volumes":
			r.whole("ConfigMap", v["configMap"], "name")
			r.whole("Secret", v["secret"], "secretName")
			r.walk("", v["projected"])
			return
		case "sources": // of a projected volume
			r.whole("ConfigMap", v["configMap"], "name")
			r.whole("Secret", v["secret"], "name")
			return
		}
		for name, child := range v {
			r.walk(name, child)
		}
	case []any:
		for _, child := range v {
			r.walk(key, child)
		}
	}
}

// keyOf takes in a reference to one key.
func (r reader) keyOf(kind string, reference any) {
	m, _ := reference.(map[string]any)
	if key, _ := m["key"].(string); key != "" {
		r.add(kind, m["name"], []string{key})
	}
}

// whole takes in a reference to an object, or to those keys of it that are items of a volume.
func (r reader) whole(kind string, reference any, name string) {
	m, _ := reference.(map[string]any)
	var keys []string
	for _, item := range object.List(m, "items") {
		projected, _ := item.(map[string]any)
		if key, _ := projected["key"].(string); key != "" {
			keys = append(keys, key)
		}
	}
	r.add(kind, m[name], keys)
}

func (r reader) add(kind string, name any, keys []string) {
	text, _ := name.(string)
	if text == "" {
		return
	}
	read := Read{Kind: kind, Name: text}
	known := r[read.String()]
	switch {
	case known == nil:
		read.Keys = keys
		r[read.String()] = &read
	case len(known.Keys) == 0 || len(keys) == 0:
		known.Keys = nil
	default:
		known.Keys = append(known.Keys, keys...)
		slices.Sort(known.Keys)
		known.Keys = slices.Compact(known.Keys)
	}
}

// TemplateAnnotations are the places of the annotations of an object's pod templates,
// a change of which makes its controller replace the pods. There are none for a kind
// whose pods nobody replaces, and for one of which it is not known.
func TemplateAnnotations(u *unstructured.Unstructured) [][]string {
	var paths [][]string
	add := func(path ...string) {
		if object.Map(u.Object, path...) != nil {
			paths = append(paths, slices.Concat(path, []string{"metadata", "annotations"}))
		}
	}
	switch id := object.Of(u); id.GroupKind().String() {
	case "Deployment.apps", "StatefulSet.apps", "DaemonSet.apps", "Rollout.argoproj.io":
		add("spec", "template")
	case "LeaderWorkerSet.leaderworkerset.x-k8s.io":
		add("spec", "leaderWorkerTemplate", "leaderTemplate")
		add("spec", "leaderWorkerTemplate", "workerTemplate")
	case "Service.serving.knative.dev":
		// A revision that has a name by hand needs another one for each change.
		if object.Text(u, "spec", "template", "metadata", "name") == "" {
			add("spec", "template")
		}
	case "RayService.ray.io":
		// Another cluster is made for any change, and takes over when it is ready.
		add("spec", "rayClusterConfig", "headGroupSpec", "template")
	case "InferenceService.serving.kserve.io":
		for _, component := range []string{"predictor", "transformer", "explainer"} {
			if object.Map(u.Object, "spec", component) != nil {
				paths = append(paths, []string{"spec", component, "annotations"})
			}
		}
	}
	return paths
}

// Versions are those of what pods read, by the name of it: Read.String.
type Versions map[string]string

// ParseVersions reads a text of versions, which need not be one.
func ParseVersions(text string) Versions {
	v := Versions{}
	for part := range strings.SplitSeq(text, ",") {
		if name, version, ok := strings.Cut(part, "="); ok && version != "" {
			v[name] = version
		}
	}
	return v
}

// String is what ParseVersions reads.
func (v Versions) String() string {
	parts := make([]string, 0, len(v))
	for _, name := range slices.Sorted(maps.Keys(v)) {
		parts = append(parts, name+"="+v[name])
	}
	return strings.Join(parts, ",")
}

// News names those of v that are other than they were, or new.
func (v Versions) News(was Versions) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(v)) {
		if v[name] != was[name] {
			names = append(names, name)
		}
	}
	return names
}
