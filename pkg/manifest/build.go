package manifest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/org/deploy-model-action/pkg/kustomize"
)

// build builds the kustomization in a folder. What comes of it passes through the
// same checks as a manifest.
func (l *loader) build(ctx context.Context, dir string) {
	result, err := kustomize.Build(ctx, kustomize.Options{
		Root: l.finder.root, Dir: dir, Objects: maxObjects, Bytes: maxTotal, Values: maxValues,
		Read: func(file string) ([]byte, error) {
			if l.finder.skipped(file) {
				return nil, errors.New("is the credentials file of the run: leave it out")
			}
			data, err := l.read(ctx, file)
			var wrong *Error
			if errors.As(err, &wrong) {
				err = errors.New(wrong.Problem)
			}
			return data, err
		},
		Decode: func(file string, before int, text []byte) kustomize.Decoded {
			return decodeText(ctx, file, before, text)
		},
	})
	if err != nil {
		l.errs = append(l.errs, mistakesOf(err)...)
		return
	}
	for _, file := range result.Files {
		l.part[file] = dir
	}
	for _, built := range result.Objects {
		d := decoder{file: built.File, set: l.set, spent: &l.spent}
		from := source{file: built.File, base: built.Base, node: built.Node, built: true}
		var value any
		if err := utiljson.Unmarshal(built.JSON, &value); err != nil {
			d.refuse(from.line(from.node), "", "what kustomize builds of it does not decode as JSON: check its numbers")
		} else {
			d.add(value, from)
		}
		l.errs = append(l.errs, d.errs...)
	}
}

// decodeText reads YAML that is part of a kustomization, and need not be objects.
func decodeText(ctx context.Context, file string, before int, text []byte) kustomize.Decoded {
	var all kustomize.Decoded
	d := decoder{file: file, before: before, spent: &spent{}} // kustomize's are counted as often as they are named
	d.take = func(value any, from source) {
		all.Documents = append(all.Documents, kustomize.Document{Value: value, Node: from.node, Base: from.base})
	}
	d.decode(ctx, text)
	all.Bytes, all.Values, all.Errs = d.spent.bytes, d.spent.values, d.errs
	return all
}

// mistakesOf are the mistakes that the error of a build joins.
func mistakesOf(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, err := range joined.Unwrap() {
		var wrong *kustomize.Error
		if errors.As(err, &wrong) {
			err = &Error{File: wrong.File, Line: wrong.Line, Problem: wrong.Problem}
		}
		all = append(all, err)
	}
	return all
}

// besides refuses files that are named beside the kustomization that they are part
// of: their objects would be deployed twice, once as the kustomization changes them.
func (l *loader) besides() {
	for _, file := range slices.Sorted(maps.Keys(l.files)) {
		if dir, ok := l.part[file]; ok && !kustomize.Named(file) {
			l.errs = append(l.errs, &Error{File: file, Line: 1, Problem: fmt.Sprintf("is part of the kustomization %s, which manifests names too: name one of them", dir)})
		}
	}
}
