package manifest

import (
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
)

// Use is one place where an object names something, such as an image.
type Use struct {
	Object int    // index in Set.Objects
	Path   string // as Position takes it: "spec.template.spec.containers[0].image"
	Value  string // as it is written
}

// Images returns every place that names an image, in a stable order: in the
// lists containers, initContainers and ephemeralContainers and in image volumes,
// at any depth of any kind, and in fields of custom resources outside of such a
// list: where a kind is known to have one, and elsewhere what is called an image and
// has a tag or digest. A repository alone may be meant to be one, as that which
// Flux's ImageRepository looks for new tags in. A CustomResourceDefinition names
// none: what it holds is a schema.
func (s *Set) Images() []Use {
	var uses []Use
	for i, o := range s.Objects {
		visit(o, func(path, value string) string {
			uses = append(uses, Use{Object: i, Path: path, Value: value})
			return value
		})
	}
	return uses
}

// SetImages replaces the images that are keys of replace, as they are written,
// by their values, everywhere that Images finds. It returns how many it changed.
func (s *Set) SetImages(replace map[string]string) int {
	changed := 0
	for _, o := range s.Objects {
		visit(o, func(_, value string) string {
			image, ok := replace[value]
			if !ok || image == value {
				return value
			}
			changed++
			return image
		})
	}
	return changed
}

// visitor is asked about each image, and answers what to write in its place.
type visitor func(path, value string) string

func visit(o *unstructured.Unstructured, v visitor) {
	gk := o.GroupVersionKind().GroupKind()
	if gk.Kind == "CustomResourceDefinition" {
		return
	}
	v.value(o.Object, "")
	patterns, known := lone[gk.String()]
	for _, pattern := range patterns {
		v.pattern(o.Object, "", strings.Split(pattern, "."))
	}
	if !known && object.Of(o).Custom() {
		for _, key := range sortedKeys(o.Object) {
			if key != "metadata" && key != "status" {
				v.custom(o.Object[key], key)
			}
		}
	}
}

// custom applies the rule for kinds that nobody here knows.
func (v visitor) custom(value any, path string) {
	switch value := value.(type) {
	case map[string]any:
		for _, key := range sortedKeys(value) {
			at := join(path, key)
			text, ok := value[key].(string)
			if _, list := value[key].([]any); list && (key == "containers" || key == "initContainers" || key == "ephemeralContainers") {
				continue // visited by the general rule
			}
			if !ok {
				v.custom(value[key], at)
			} else if (key == "image" || strings.HasSuffix(key, "Image")) && tagged(text) {
				v.image(value, key, at)
			}
		}
	case []any:
		for i, item := range value {
			v.custom(item, index(path, i))
		}
	}
}

// tagged reports whether a reference has a tag or a digest.
func tagged(reference string) bool {
	return strings.ContainsAny(reference[strings.LastIndexByte(reference, '/')+1:], ":@")
}

// value applies the general rule at every depth.
func (v visitor) value(value any, path string) {
	switch value := value.(type) {
	case map[string]any:
		for _, key := range sortedKeys(value) {
			at := join(path, key)
			if items, ok := value[key].([]any); ok {
				switch key {
				case "containers", "initContainers", "ephemeralContainers":
					v.items(items, at, "image")
				case "volumes":
					v.items(items, at, "image.reference")
				}
			}
			v.value(value[key], at)
		}
	case []any:
		for i, item := range value {
			v.value(item, index(path, i))
		}
	}
}

// items visits one field of each item of a list.
func (v visitor) items(items []any, path, field string) {
	for i, item := range items {
		v.pattern(item, index(path, i), strings.Split(field, "."))
	}
}

// image visits one image. Who only asks for it leaves the map alone, which others may
// read at the same time.
func (v visitor) image(m map[string]any, key, path string) {
	was, ok := m[key].(string)
	if !ok {
		return
	}
	if is := v(path, was); is != was {
		m[key] = is
	}
}

// pattern visits the string at the end of a path of keys. The key * stands for
// every key, and a key that ends in [] for every item of the list there.
func (v visitor) pattern(value any, path string, keys []string) {
	m, ok := value.(map[string]any)
	if !ok {
		return
	}
	key, list := strings.CutSuffix(keys[0], "[]")
	switch {
	case list:
		items, _ := m[key].([]any)
		for i, item := range items {
			v.pattern(item, index(join(path, key), i), keys[1:])
		}
	case key == "*":
		for _, k := range sortedKeys(m) {
			v.pattern(m[k], join(path, k), keys[1:])
		}
	case len(keys) > 1:
		v.pattern(m[key], join(path, key), keys[1:])
	default:
		v.image(m, key, join(path, key))
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// argo is where the templates of Argo Workflows name an image outside of a list
// of containers.
var argo = []string{
	"spec.templates[].container.image", "spec.templates[].script.image",
	"spec.workflowSpec.templates[].container.image", "spec.workflowSpec.templates[].script.image",
}

// lone is where custom resources that serve or train models name an image
// outside of a list of containers, by kind and group.
var lone = map[string][]string{
	"InferenceService.serving.kserve.io":    {"spec.predictor.*.image", "spec.transformer.*.image", "spec.explainer.*.image"},
	"Bento.resources.yatai.ai":              {"spec.image"},
	"SparkApplication.sparkoperator.k8s.io": {"spec.image", "spec.driver.image", "spec.executor.image"},
	"Workflow.argoproj.io":                  argo,
	"WorkflowTemplate.argoproj.io":          argo,
	"ClusterWorkflowTemplate.argoproj.io":   argo,
	"CronWorkflow.argoproj.io":              argo,
}
