package release

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

const (
	// maxLog bounds a log as it is stored: an API server takes 1 MiB of a Secret.
	maxLog = 1<<20 - 4<<10
	// maxExpanded bounds what the logs of one release expand to when they are
	// read: whoever may write Secrets could store a bomb.
	maxExpanded = 64 << 20
)

// errLog is a log that is none. What is wrong with it is not said: it holds what
// Secrets were.
var errLog = errors.New("is not an undo log as this version writes it")

// logLine is one object as a log has it.
type logLine struct {
	Group      string `json:"group,omitempty"`
	Version    string `json:"version"`
	Resource   string `json:"resource"`
	Namespaced bool   `json:"namespaced,omitempty"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
	// Before is the whole object, with its managedFields: the way back needs to
	// know whose each field was. null: it did not exist.
	Before json.RawMessage `json:"before"`
}

// packLog compresses what the objects were. What does not fit is left out, of
// what matters least first, and returned.
func packLog(changes []kube.Change, limit int) (packed []byte, omitted []object.ID, err error) {
	ordered := slices.Clone(changes)
	slices.SortStableFunc(ordered, func(a, b kube.Change) int { return cmp.Compare(weight(a.Ref), weight(b.Ref)) })
	raw := make([][]byte, len(ordered))
	for i, c := range ordered {
		l := logLine{
			Group: c.Group, Version: c.Version, Resource: c.Resource.Resource, Namespaced: c.Namespaced,
			Kind: c.Kind, Namespace: c.Namespace, Name: c.Name,
		}
		if c.Before != nil {
			if l.Before, err = json.Marshal(c.Before.Object); err != nil {
				return nil, nil, errLog
			}
		}
		if raw[i], err = json.Marshal(l); err != nil {
			return nil, nil, errLog
		}
		raw[i] = append(raw[i], '\n')
	}
	p := packer{limit: limit}
	if err := p.add(ordered, raw); err != nil {
		return nil, nil, err
	}
	return p.out.Bytes(), p.omitted, nil
}

// weight orders what a log is for: the workloads and what they read come first.
func weight(ref kube.Ref) int {
	switch ref.Kind {
	case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod":
		return 0
	case "ConfigMap", "Secret", "ServiceAccount", "PersistentVolumeClaim":
		return 1
	}
	return 2
}

// packer writes gzip members, which a reader takes for one stream.
type packer struct {
	limit   int
	out     bytes.Buffer
	omitted []object.ID
}

// add compresses entries as one member if that fits, else each half of them by
// itself, so that what is small fits beside what is too large.
func (p *packer) add(changes []kube.Change, raw [][]byte) error {
	if len(raw) == 0 {
		return nil
	}
	member, err := compress(raw)
	if err != nil {
		return err
	}
	switch {
	case p.out.Len()+len(member) <= p.limit:
		p.out.Write(member)
		return nil
	case len(raw) == 1 || p.out.Len()+smallestMember > p.limit:
		for _, c := range changes {
			p.omitted = append(p.omitted, c.ID())
		}
		return nil
	}
	half := len(raw) / 2
	return errors.Join(p.add(changes[:half], raw[:half]), p.add(changes[half:], raw[half:]))
}

// smallestMember is less than any entry takes compressed.
const smallestMember = 64

func compress(parts [][]byte) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for _, part := range parts {
		if _, err := z.Write(part); err != nil {
			return nil, err
		}
	}
	err := z.Close()
	return b.Bytes(), err
}

// unpackLog reads what packLog wrote; expanded is how much it may expand to.
func unpackLog(packed []byte, expanded int64) (changes []kube.Change, size int64, err error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, 0, errLog
	}
	limited := &io.LimitedReader{R: z, N: expanded + 1}
	decoder := json.NewDecoder(limited)
	for {
		var l logLine
		err := decoder.Decode(&l)
		size = expanded + 1 - limited.N
		switch {
		case errors.Is(err, io.EOF) && size <= expanded:
			return changes, size, nil
		case err != nil || size > expanded || l.Version == "" || l.Resource == "" || l.Kind == "" || l.Name == "":
			return nil, size, errLog
		}
		c := kube.Change{Ref: kube.Ref{
			Resource: kube.Resource{
				GroupVersionResource: schema.GroupVersionResource{Group: l.Group, Version: l.Version, Resource: l.Resource},
				Namespaced:           l.Namespaced,
			},
			Kind: l.Kind, Namespace: l.Namespace, Name: l.Name,
		}}
		if c.Before, err = l.before(); err != nil {
			return nil, size, err
		}
		changes = append(changes, c)
	}
}

// before is the object that the line holds; nil if it did not exist.
func (l logLine) before() (*unstructured.Unstructured, error) {
	if len(l.Before) == 0 || string(l.Before) == "null" {
		return nil, nil
	}
	u := &unstructured.Unstructured{}
	// Whole numbers stay whole, which encoding/json does not see to.
	if err := utiljson.Unmarshal(l.Before, &u.Object); err != nil {
		return nil, errLog
	}
	// A log must not lead to another object than the one that it names.
	if object.Of(u) != (object.ID{Group: l.Group, Kind: l.Kind, Namespace: l.Namespace, Name: l.Name}) {
		return nil, errLog
	}
	return u, nil
}

// oldest joins what several logs say of objects; of each, the first one counts.
func oldest(logs ...[]kube.Change) []kube.Change {
	var all []kube.Change
	known := map[object.ID]bool{}
	for _, log := range logs {
		for _, c := range log {
			if !known[c.ID()] {
				known[c.ID()] = true
				all = append(all, kube.Change{Ref: c.Ref, Before: c.Before})
			}
		}
	}
	return all
}
