package apply

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/workload"
)

// maxReads bounds how much of what a workload's pods read counts: it is noted on
// the workload, whose annotations have a bound of their own.
const maxReads = 256

// reading notes which ConfigMaps and Secrets of the set the pods of each item read.
func (p *Plan) reading() {
	config := map[object.ID]*item{}
	for _, it := range p.items {
		if id := it.ref().ID(); object.IsConfig(id) {
			config[id] = it
		}
	}
	if len(config) == 0 {
		return
	}
	p.seed = rand.Text()
	for _, it := range p.items {
		for _, read := range workload.Reads(it.object) {
			if from := config[object.ID{Kind: read.Kind, Namespace: it.ref().Namespace, Name: read.Name}]; from != nil && len(it.reads) < maxReads {
				it.reads = append(it.reads, reads{read, from})
			}
		}
	}
}

// reads is what the pods of an item read of another one.
type reads struct {
	workload.Read
	from *item
}

// stampOf is the stamp of an object for this run. Who learns one, and may read that
// ConfigMap or Secret, learns no other.
func (p *Plan) stampOf(id object.ID) string {
	if !object.IsConfig(id) {
		return ""
	}
	tag := hmac.New(sha256.New, []byte(p.seed))
	tag.Write([]byte(id.String()))
	return base64.RawURLEncoding.EncodeToString(tag.Sum(nil)[:16])
}

// configure tells the writes of items what their pods read, as far as that is known:
// it has to be checked before, and may become another when it is written.
func (p *Plan) configure(items []*item) {
	for _, it := range items {
		rolls := len(workload.TemplateAnnotations(it.object)) > 0
		if it.write == nil || it.written || !rolls && len(it.reads) == 0 {
			continue
		}
		c := kube.Config{Versions: workload.Versions{}, Before: workload.Versions{}}
		directives, _ := object.ReadDirectives(it.object) // refused when it was read
		c.Keep = directives.NoRollOnConfig
		for _, r := range it.reads {
			if v := r.from.stamps().Version(r.from.object, r.Keys); v != "" {
				c.Versions[r.String()] = v
			}
			if v := object.StampsOf(p.verified(r.from)).Version(r.from.object, r.Keys); v != "" {
				c.Before[r.String()] = v
			}
		}
		if rolls {
			it.write.Configure(c)
		} else {
			it.stale = c.Versions.News(c.Before)
		}
	}
}

// verified is an item as it was before this run, or one that it took over from.
func (p *Plan) verified(it *item) *unstructured.Unstructured {
	if p.o.Verified != nil {
		if before, known := p.o.Verified(it.ref().ID()); known {
			return before
		}
	}
	return it.live()
}

// stamps are those of an item when it is written.
func (it *item) stamps() object.Stamps {
	switch {
	case it.after != nil:
		return object.StampsOf(it.after)
	case it.write != nil:
		return it.write.Stamps()
	}
	return nil
}

// unsettled reports whether it is known only later whether an item needs a write:
// what its pods read is not written yet.
func (it *item) unsettled() bool {
	return slices.ContainsFunc(it.reads, func(r reads) bool {
		return !r.from.written && (r.from.write == nil || r.from.write.Pending())
	})
}

// warnStale says which pods go on with what they have read. Those of a Job are done
// with it, and of a CronJob the next ones read it anew.
func (p *Plan) warnStale(items []*item) {
	for _, it := range items {
		if note := it.staleNote(); note != "" {
			p.o.Client.Log("%s: %s", it.ref().ID(), note)
		}
		it.stale = nil
	}
}

// staleNote says that pods of an item go on with what they have read; "" if none do.
func (it *item) staleNote() string {
	if kind := it.object.GetKind(); len(it.stale) == 0 || it.live() == nil || kind == "Job" || kind == "CronJob" {
		return ""
	}
	return fmt.Sprintf("its pods are not replaced, though they read what has changed (%s): of this kind nobody knows how; restart them by hand", strings.ReplaceAll(strings.Join(it.stale, ", "), "/", " "))
}
