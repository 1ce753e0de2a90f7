package apply

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

// Listed is an object as an inventory lists it.
type Listed struct {
	object.ID
	Version string // of its API, as it was applied last; "" if not known
	UID     string // "" if not known
	// Found says that it was there before a deploy of the release applied it, and that
	// none which did was verified: then it was put back.
	Found bool
}

// Leftover is an object that an earlier deploy of the release applied and that the
// manifests do not hold any more, as it was found.
type Leftover struct {
	Listed
	Ref  kube.Ref
	Live *unstructured.Unstructured // nil: it is not there any more
}

// PruneRules are what else has to be known in order to say what may be deleted.
type PruneRules struct {
	// Kept are the UIDs of the objects that the release holds: one of them may be known
	// by another name, too, as that of an API group before.
	Kept map[types.UID]bool
	// Author reports of the run that marks an object whether it is one of this release,
	// and whether it is for certain one of another. The default is neither.
	Author func(run string) (own, foreign bool)
	// Others are the objects that other releases hold, each with the name of one.
	Others map[object.ID]string
	// Blind says why it is not known what releases of other namespaces hold, so that
	// what is not in Namespace stays; "" if it is known.
	Blind     string
	Namespace string
}

// Fate is what becomes of a Leftover.
type Fate struct {
	Leftover
	// Prune says that it is to be deleted.
	Prune bool
	// Why says why it stays, and what to do; "" if it is pruned, or not there.
	Why string
	// Forget says that it is not the release's any more: it is not there, or somebody
	// else's by now.
	Forget bool
}

// String is one line, e.g. "service/x left: Deployment y owns it".
func (f Fate) String() string { return f.Ref.ID().Resource() + " left: " + f.Why }

// Prunable says of each object that earlier deploys left what becomes of it, in the
// order in which they are deleted: that of an apply from its end. It asks nobody.
func Prunable(found []Leftover, r PruneRules) []Fate {
	all := make([]Fate, len(found))
	for i, l := range found {
		all[i] = r.fate(l)
	}
	slices.SortStableFunc(all, func(a, b Fate) int {
		return cmp.Or(cmp.Compare(stageOf(b.GroupKind()), stageOf(a.GroupKind())), a.Compare(b.ID))
	})
	return all
}

// fate decides about one object.
func (r PruneRules) fate(l Leftover) Fate {
	f := Fate{Leftover: l}
	if l.Live == nil || r.Kept[l.Live.GetUID()] {
		f.Forget = true
		return f
	}
	if f.Why = r.lost(l); f.Why != "" {
		f.Forget = true
		f.Why += "; delete it by hand if nobody needs it: " + byKubectl("delete", l.Ref, "")
		return f
	}
	f.Why = r.kept(l)
	f.Prune = f.Why == ""
	return f
}

// lost says why an object is not the release's any more; "" if it is.
func (r PruneRules) lost(l Leftover) string {
	ours, other := kube.AppliedBy(l.Live)
	run := l.Live.GetAnnotations()[object.RunAnnotation]
	own, foreign := false, false
	if r.Author != nil && run != "" {
		own, foreign = r.Author(run)
	}
	owners := l.Live.GetOwnerReferences()
	switch {
	case l.UID != "" && l.UID != string(l.Live.GetUID()):
		return "somebody has created it anew since a deploy applied it"
	case !ours:
		return "no deploy has applied it as it is"
	case l.Found:
		return "it was there before, and no deploy that applied it has been verified"
	case foreign:
		return "run " + run + ", which is none of this release, wrote it last"
	case l.UID == "" && !own:
		return "whether a deploy of this release created it is not known"
	case other != "":
		return fmt.Sprintf("%q applies it, too", other)
	case len(owners) > 0:
		return owners[0].Kind + " " + owners[0].Name + " owns it"
	}
	return ""
}

// kept says why an object of the release stays all the same; "" if it does not.
func (r PruneRules) kept(l Leftover) string {
	annotation, annotated := l.Live.GetAnnotations()[object.PruneAnnotation]
	switch {
	case l.Live.GetDeletionTimestamp() != nil:
		return "it is being deleted already"
	case annotated && annotation != "true":
		return object.PruneAnnotation + " says so"
	case !annotated && data(l.ID):
		return fmt.Sprintf("a %s is deleted only where %s: \"true\" names it, as what is in it goes with it; so annotate it (%s), or delete it by hand", l.Kind, object.PruneAnnotation, byKubectl("annotate", l.Ref, " "+object.PruneAnnotation+"=true"))
	case r.Others[l.ID] != "":
		return fmt.Sprintf("release %s holds it, too; if that one is not deployed any more, as after it was renamed, delete its record, the ConfigMap deploy-model-action.RELEASE", r.Others[l.ID])
	case r.Blind != "" && l.Namespace != r.Namespace:
		return r.Blind
	}
	return ""
}

// data reports whether an object stands for what cannot be applied again: what is in
// it goes with it.
func data(id object.ID) bool {
	switch id.Group {
	case "":
		return id.Kind == "Namespace" || id.Kind == "PersistentVolume" || id.Kind == "PersistentVolumeClaim"
	case "apiextensions.k8s.io":
		return id.Kind == "CustomResourceDefinition"
	case "snapshot.storage.k8s.io":
		return id.Kind == "VolumeSnapshot" || id.Kind == "VolumeSnapshotContent"
	}
	// Config Connector's objects are buckets and databases of Google Cloud.
	return strings.HasSuffix(id.Group, ".cnrm.cloud.google.com")
}

// byKubectl is a command for one object.
func byKubectl(verb string, ref kube.Ref, more string) string {
	command := "kubectl " + verb + " " + strings.Replace(ref.ID().Resource(), "/", " ", 1) + more
	if ref.Namespace != "" {
		command += " -n " + ref.Namespace
	}
	return command
}

// FindLeftovers reads what earlier deploys applied. Its error joins those of all.
func FindLeftovers(ctx context.Context, former []Listed, o Options) ([]Leftover, error) {
	p := &Plan{o: o.withDefaults()}
	items, all := make([]*item, len(former)), make([]Leftover, len(former))
	for i := range former {
		items[i] = &item{index: i}
	}
	err := flat(ctx, each(ctx, p, items, func(it *item) (err error) {
		all[it.index], err = p.find(ctx, former[it.index])
		return err
	}))
	return all, err
}

// find reads one object, in the version in which it was applied, or if that is not
// served any more in another one.
func (p *Plan) find(ctx context.Context, f Listed) (Leftover, error) {
	l := Leftover{Listed: f, Ref: kube.Ref{Kind: f.Kind, Namespace: f.Namespace, Name: f.Name}}
	l.Ref.Group = f.Group
	var err error
	if f.Version != "" {
		l.Ref.Resource, err = p.o.Client.Resource(ctx, f.GroupKind().WithVersion(f.Version))
		if err == nil {
			l.Live, err = p.o.Client.Get(ctx, l.Ref, kube.Patience{})
		}
	}
	if f.Version == "" || kube.IsUnknown(err) || kube.IsUnserved(err) {
		var served bool
		if l.Ref.Resource, served, err = p.o.Client.Preferred(ctx, f.GroupKind()); err == nil && served {
			l.Live, err = p.o.Client.Get(ctx, l.Ref, kube.Patience{})
		}
	}
	if err != nil {
		return l, p.o.Client.Explain(ctx, l.Ref, err)
	}
	return l, nil
}

// TryPrune asks for the deletions without doing them, and returns as an error what
// whoever deploys has no right to. What else may stand in the way passes, or comes
// up when they are deleted.
func TryPrune(ctx context.Context, fates []Fate, o Options) error {
	p := &Plan{o: o.withDefaults()}
	var items []*item
	for i, f := range fates {
		if f.Prune {
			items = append(items, &item{index: i})
		}
	}
	return flat(ctx, each(ctx, p, items, func(it *item) error {
		f := fates[it.index]
		uid := f.Live.GetUID()
		err := p.o.Client.Delete(ctx, f.Ref, metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}, Preconditions: &metav1.Preconditions{UID: &uid}})
		if err == nil || !apierrors.IsForbidden(err) {
			return nil
		}
		return p.o.Client.Explain(ctx, f.Ref, err)
	}))
}
