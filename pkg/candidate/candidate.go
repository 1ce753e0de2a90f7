// Package candidate makes of each workload that a deploy changes one pod that can
// run beside what serves: with the new template, copies of the configuration that
// the deploy is about to write, and labels that lead no Service and no controller
// to it. It also says what keeps such a pod from running beside the old ones.
//
// It is pure. Creating the pods, waiting for them, asking them and removing them
// is left to others.
package candidate

import (
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
)

const (
	// Label is on everything that this package makes; its value is Value of the release.
	Label = object.Prefix + "candidate"
	// WorkloadAnnotation names the workload that a candidate stands for.
	WorkloadAnnotation = object.Prefix + "candidate-of"
	// grace is how long a candidate may take to end: nobody is served by it.
	grace = int64(1)
)

// Options are what candidates are made of.
type Options struct {
	// Objects are the set as it is about to be applied, with a namespace on each
	// that has one.
	Objects []*unstructured.Unstructured
	// Changed reports whether an object is about to be written. Required.
	Changed func(object.ID) bool
	// Services are those of the namespaces that the candidates are for.
	Services []*unstructured.Unstructured
	// Front is the Service that is asked, with the port to ask at; nil: none is.
	Front *unstructured.Unstructured
	// Claims are the PersistentVolumeClaims there, as far as they are known.
	Claims []*unstructured.Unstructured
	// Nodes are the cluster's, and Pods what runs on them; none if not known.
	Nodes []corev1.Node
	Pods  []*corev1.Pod
	// Elastic says that the cluster makes nodes by itself, of any kind.
	Elastic bool
	// Release and Run tell these candidates from those of other releases and runs.
	Release, Run string
	// Lifetime is the number of seconds after which a pod that nobody removed ends.
	Lifetime int64
}

// Candidate is a workload's pod that is to be tried.
type Candidate struct {
	Workload object.ID
	Pod      *unstructured.Unstructured
	// Steady is how long the pod has to run, as the workload's minReadySeconds says;
	// negative if it does not say.
	Steady time.Duration
	// Port of the container is where Front leads; 0: it does not lead here.
	Port int64
}

// Set is all that has to be created: first Copies, then the pods.
type Set struct {
	Candidates []Candidate
	Copies     []*unstructured.Unstructured
}

// Objects are all objects of the set, in the order of their creation.
func (s Set) Objects() []*unstructured.Unstructured {
	all := slices.Clone(s.Copies)
	for _, c := range s.Candidates {
		all = append(all, c.Pod)
	}
	return all
}

// kinds are those whose pods serve, so that one more of them can stand beside.
var kinds = []string{"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Rollout"}

// Build makes the candidates. Its error joins an *ObstacleError for each workload
// that cannot have one.
func Build(o Options) (Set, error) {
	b := builder{Options: o, copies: map[object.ID]string{}}
	for _, u := range o.Objects {
		if slices.Contains(kinds, u.GetKind()) && o.Changed(object.Of(u)) && object.Number(u, 1, "spec", "replicas") > 0 {
			b.add(u)
		}
	}
	return b.set, b.err()
}

// builder collects a Set.
type builder struct {
	Options
	set       Set
	copies    map[object.ID]string // the names of those made so far
	obstacles []error
}

func (b *builder) add(u *unstructured.Unstructured) {
	template := object.Map(u.Object, "spec", "template")
	if len(object.List(template, "spec", "containers")) == 0 {
		return // by reference to another workload
	}
	id := object.Of(u)
	template = (&unstructured.Unstructured{Object: template}).DeepCopy().Object
	spec := object.Map(template, "spec")
	if why, what := b.obstacle(u, spec); why != "" {
		b.obstacles = append(b.obstacles, &ObstacleError{Workload: id, Why: why, Do: what})
		return
	}
	b.redirect(id, spec)
	spec["terminationGracePeriodSeconds"] = grace
	if b.Lifetime > 0 {
		spec["activeDeadlineSeconds"] = b.Lifetime
	}
	spec["restartPolicy"] = "Always"

	pod := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Pod", "spec": spec}}
	pod.SetNamespace(u.GetNamespace())
	pod.SetName(b.name(id, u.GetName()))
	meta := &unstructured.Unstructured{Object: template}
	pod.SetAnnotations(with(meta.GetAnnotations(), WorkloadAnnotation, id.GroupKind().String()+"/"+id.Name))
	labels := meta.GetLabels()
	port := b.port(u.GetNamespace(), labels, spec)
	pod.SetLabels(with(b.hidden(u, labels), Label, Value(b.Release)))
	b.set.Candidates = append(b.set.Candidates, Candidate{
		Workload: id, Pod: pod, Port: port,
		Steady: time.Duration(object.Number(u, -1, "spec", "minReadySeconds")) * time.Second,
	})
}

// Value is a release's name as a label's value: a long one is cut, and told apart
// from others by a hash of the whole.
func Value(release string) string {
	if len(release) <= maxName {
		return release
	}
	return strings.TrimRight(release[:maxName-6], "-_.") + "-" + hash(release)
}

// maxName bounds label values, and the names of pods that become host names.
const maxName = 63

// name is a name beside that of an object of the workload: the same for the same
// run, another one for any other, so that the one of a killed run is in nobody's way.
func (b *builder) name(workload object.ID, of string) string {
	end := "-candidate-" + hash(b.Run+"/"+workload.String())
	return strings.TrimRight(of[:min(len(of), maxName-len(end))], "-.") + end
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:5])
}

func with(m map[string]string, key, value string) map[string]string {
	out := map[string]string{key: value}
	for k, v := range m {
		out[k] = v
	}
	return out
}
