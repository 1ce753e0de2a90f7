// Package release keeps the record of a release in the cluster: which run has it
// and which is the newest, what it is made of, and the last deploys. It decides
// between two runs by compare-and-set, so that the newer one wins whatever the
// timing, and keeps what the objects were until a run has ended, so that the way
// back leads past what a killed run left half written.
//
// Nobody holds a lock. The objects themselves are left to apply; when to claim,
// and what follows from being superseded, to deploy.
package release

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

const (
	// maxConflicts bounds how often somebody else may be faster. Each of them got
	// on, so that many in a row are a cluster that answers nonsense.
	maxConflicts = 50
	// maxUncertain bounds how often an answer may stay away that the client had
	// waited for already, within its own budget.
	maxUncertain = 2
)

// prefix begins the name of every record and of every log.
const prefix = "deploy-model-action."

const (
	labelManagedBy = "app.kubernetes.io/managed-by"
	// annotationHolder is the nonce of the process that wrote a log, and
	// annotationClosed that of the one that closed it.
	annotationHolder = object.Prefix + "holder"
	annotationClosed = object.Prefix + "closed-by"
	logType          = "deploy-model-action/undo-log"
	logKey           = "log.json.gz"
)

// Record is the record of one release, as it was read last, and this process's
// part in it. Its methods are for one process in this order: Check, Claim,
// KeepLog, Finish; Held at any time after Claim, also concurrently.
type Record struct {
	client          *kube.Client
	namespace, name string
	nonce           string

	mu      sync.Mutex
	current stored

	opened    state // as it was read first
	run       Run
	held      map[object.ID]bool // that this run applies
	attempted bool               // to claim
	claimed   bool
	mine      state         // as it was claimed
	own       undoRef       // the log that this process has reserved; zero: none
	log       *writtenLog   // nil: there is none
	earlier   []earlierLog  // that this process inherits or cleans up, oldest first
	inherited []kube.Change // of the earlier logs, the oldest of each object
	// cleared gets the obsolete logs that could not be deleted; nil: nobody deletes them yet.
	cleared chan []knownLog
}

// stored is a record as it is in the cluster.
type stored struct {
	state
	object *unstructured.Unstructured // nil: there is none
}

// Open reads the record of a release, which may not exist yet. The objects of the
// release must be read after it has returned: then the claim, which fails if the
// record has changed since, says whether anything of them is out of date. Errors
// that a caller may want to know are *UnreadableError and *ForbiddenError.
func Open(ctx context.Context, client *kube.Client, namespace, name string) (*Record, error) {
	if err := ValidateName(name); err != nil {
		return nil, err
	}
	random := make([]byte, 8)
	_, _ = rand.Read(random) // never fails
	r := &Record{client: client, namespace: namespace, name: name, nonce: hex.EncodeToString(random)}
	if err := r.read(ctx); err != nil {
		return nil, err
	}
	r.opened = r.current.state
	return r, nil
}

// Check says whether a run would be superseded if it claimed what was read last:
// a *SupersededError, or nil. It asks nobody.
func (r *Record) Check(run Run) error {
	if err := r.last().check(run); err != nil {
		return err
	}
	return nil
}

// Releases are the releases that the record remembers, the newest first.
func (r *Record) Releases() []Entry { return r.last().releases }

// Inventory is what was ever applied under this release and not removed since:
// what the last claim named first, then what is left of earlier ones.
func (r *Record) Inventory() []Object { return r.last().inventory }

// Held reads the record again and returns nil if this process still holds it,
// else a *SupersededError. A record that somebody has deleted supersedes nobody.
func (r *Record) Held(ctx context.Context) error {
	now, err := r.fetch(ctx)
	if err != nil {
		return err
	}
	if now.object == nil || now.heldBy(r.nonce) {
		return nil
	}
	return now.superseding()
}

// superseding is the error of whoever does not hold this state.
func (s state) superseding() *SupersededError {
	if s.holder == nil {
		return &SupersededError{By: s.newest.Run}
	}
	return &SupersededError{By: s.holder.Run}
}

// last is what was read or written last.
func (r *Record) last() stored {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

func (r *Record) remember(s stored) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = s
}

// read reads the record and remembers it.
func (r *Record) read(ctx context.Context) error {
	now, err := r.fetch(ctx)
	if err == nil {
		r.remember(now)
	}
	return err
}

func (r *Record) fetch(ctx context.Context) (stored, error) {
	ref := r.recordRef()
	u, err := r.client.Get(ctx, ref, kube.Patience{})
	if err != nil {
		return stored{}, explain(err, "get", ref)
	}
	return r.parse(u)
}

func (r *Record) parse(u *unstructured.Unstructured) (stored, error) {
	if u == nil {
		return stored{}, nil
	}
	s, err := parseConfigMap(u)
	return stored{state: s, object: u}, err
}

// parseConfigMap reads a record; an error is an *UnreadableError.
func parseConfigMap(u *unstructured.Unstructured) (state, error) {
	data, _, err := unstructured.NestedStringMap(u.Object, "data")
	if err != nil {
		err = &keyError{"data", err}
	}
	var s state
	if err == nil {
		s, err = parse(data)
	}
	if err != nil {
		return s, &UnreadableError{Namespace: u.GetNamespace(), ConfigMap: u.GetName(), Err: err}
	}
	return s, nil
}

// write stores a state if the record is still as it was in old.
func (r *Record) write(ctx context.Context, old stored, next state) (stored, error) {
	data, err := next.data()
	if err != nil {
		return stored{}, fmt.Errorf("release record: ConfigMap %s/%s: %w", r.namespace, r.recordRef().Name, err)
	}
	ref := r.recordRef()
	var u, written *unstructured.Unstructured
	if old.object == nil {
		u = newObject(ref)
	} else {
		u = old.object.DeepCopy()
	}
	labels := u.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[labelManagedBy] = object.FieldManager
	u.SetLabels(labels)
	_ = unstructured.SetNestedStringMap(u.Object, data, "data") // fails where data lies below what is no map
	if old.object == nil {
		written, err = r.client.Create(ctx, ref, u)
	} else {
		written, err = r.client.Update(ctx, ref, u)
	}
	if err != nil {
		return stored{}, err
	}
	return stored{state: next, object: written}, nil
}

// change writes what next makes of the record, again and again if somebody else
// was faster. done reports, of a record that was read again, whether the write
// had arrived and only its answer was lost.
func (r *Record) change(ctx context.Context, done func(state) bool, next func(stored) (state, error)) error {
	for conflicts, uncertain := 0, 0; ; conflicts++ {
		old := r.last()
		wanted, err := next(old)
		if err != nil {
			return err
		}
		now, err := r.write(ctx, old, wanted)
		if err == nil {
			r.remember(now)
			return nil
		}
		if errors.Is(err, kube.ErrUncertain) {
			uncertain++
		}
		refusal := explain(err, "write", r.recordRef())
		if !outdated(err) || conflicts > maxConflicts {
			return refusal
		}
		if err := r.read(ctx); err != nil {
			return errors.Join(refusal, err)
		}
		if done(r.last().state) {
			return nil
		}
		if uncertain > maxUncertain {
			return refusal
		}
	}
}

func (r *Record) recordRef() kube.Ref { return recordRef(r.namespace, r.name) }

func recordRef(namespace, name string) kube.Ref {
	return kube.Ref{Resource: coreResource("configmaps"), Kind: "ConfigMap", Namespace: namespace, Name: prefix + name}
}

func (r *Record) logRef(number int) kube.Ref {
	return kube.Ref{Resource: coreResource("secrets"), Kind: "Secret", Namespace: r.namespace, Name: prefix + r.name + "." + strconv.Itoa(number)}
}

func coreResource(plural string) kube.Resource {
	return kube.Resource{GroupVersionResource: schema.GroupVersionResource{Version: "v1", Resource: plural}, Namespaced: true}
}

// newObject is an object without contents at a place.
func newObject(ref kube.Ref) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": ref.Kind}}
	u.SetName(ref.Name)
	u.SetNamespace(ref.Namespace)
	u.SetLabels(map[string]string{labelManagedBy: object.FieldManager})
	return u
}
