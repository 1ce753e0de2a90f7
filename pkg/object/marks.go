package object

// FieldManager is the name under which the cluster records which fields are
// ours. It never varies by run: a second name would conflict with the first.
const FieldManager = "deploy-model-action"

// The annotations that a run writes on what it changes, and the prefix of all
// that are ours. ChangeCause is Kubernetes' own, which `kubectl rollout history` shows.
const (
	Prefix           = "deploy-model-action/"
	RunAnnotation    = Prefix + "run"
	CommitAnnotation = Prefix + "commit"
	ChangeCause      = "kubernetes.io/change-cause"
	// ContentAnnotation holds the Stamps of a ConfigMap or Secret.
	ContentAnnotation = Prefix + "content"
	// ConfigAnnotation says, on a workload, which versions of ConfigMaps and Secrets
	// its pods have been given. On its pod template it is what replaces the pods when
	// they have to read something new.
	ConfigAnnotation = Prefix + "config"
)

// Mark says which run wrote an object, on the object itself. The zero value
// marks nothing.
type Mark struct {
	Run    string // "RUN_ID-ATTEMPT", or for a run by hand something that no other has
	Commit string
	Cause  string // for people
}

// Annotations are the annotations of the mark; nil for the zero value.
func (m Mark) Annotations() map[string]string {
	out := map[string]string{}
	for key, value := range map[string]string{RunAnnotation: m.Run, CommitAnnotation: m.Commit, ChangeCause: m.Cause} {
		if value != "" {
			out[key] = value
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// IsMark reports whether an annotation of an object is one that runs write. Two
// objects that differ in marks only are equal.
func IsMark(annotation string) bool {
	switch annotation {
	case RunAnnotation, CommitAnnotation, ChangeCause, ContentAnnotation, ConfigAnnotation:
		return true
	}
	return false
}
