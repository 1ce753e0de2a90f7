package kustomize

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/metrics"
	"time"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/resid"

	"github.com/org/deploy-model-action/pkg/fault"
)

// Bounds of kustomize itself, which has none: a chain of replacements doubles an
// object with each link.
const (
	maxTime   = 5 * time.Minute // a thousand objects take it ten seconds of a processor
	maxMemory = 512 << 20       // more than before, in bytes
)

// built is an object as kustomize made it.
type built struct {
	id      resid.ResId
	json    []byte
	mark    string
	strayed bool // the mark is elsewhere too
}

var (
	errTime   = errors.New("kustomize is not done after 5 minutes")
	errMemory = errors.New("kustomize takes more than 512 MiB of memory")
)

// run builds a folder of a tree.
func run(ctx context.Context, t *tree, dir string) (objects []built, err error) {
	var done []built
	err = bounded(ctx, func() (err error) {
		done, err = build(t, dir)
		return err
	})
	if err != nil {
		return nil, err // done may still be written
	}
	return done, nil
}

// bounded calls what knows neither a context nor a bound, and may panic. What is
// given up goes on until the process ends, which it does soon after.
func bounded(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() {
		defer fault.Catch(ctx)
		var err error
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("it gave up: %v", r)
			}
			done <- err
		}()
		err = f()
	}()
	before := memory()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	late := time.NewTimer(maxTime)
	defer late.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			return errTime
		case <-look.C:
			if memory() > before+maxMemory {
				return errMemory
			}
		}
	}
}

func memory() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// build is `kubectl kustomize`.
func build(t *tree, dir string) ([]built, error) {
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionUnspecified
	options.LoadRestrictions = types.LoadRestrictionsRootOnly
	options.PluginConfig = types.DisabledPluginConfig()
	all, err := krusty.MakeKustomizer(options).Run(t, abs(dir))
	if err != nil {
		return nil, err
	}
	var objects []built
	for _, r := range all.Resources() {
		text, err := r.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.CurId(), err)
		}
		b := built{id: r.CurId(), json: text}
		if bytes.Contains(text, []byte(mark)) {
			if err := b.unmark(); err != nil {
				return nil, fmt.Errorf("%s: %w", r.CurId(), err)
			}
		}
		objects = append(objects, b)
	}
	return objects, nil
}

// unmark takes the mark off an object.
func (b *built) unmark() error {
	var object map[string]any
	decoder := json.NewDecoder(bytes.NewReader(b.json))
	decoder.UseNumber()
	if err := decoder.Decode(&object); err != nil {
		return err
	}
	metadata, _ := object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	b.mark, _ = annotations[mark].(string)
	if delete(annotations, mark); len(annotations) == 0 {
		delete(metadata, "annotations")
	}
	var err error
	b.json, err = json.Marshal(object)
	b.strayed = bytes.Contains(b.json, []byte(mark))
	return err
}
