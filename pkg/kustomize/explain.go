package kustomize

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/org/deploy-model-action/pkg/redact"
)

// Where kustomize's errors begin to hold what files hold, which may be a secret.
var content = regexp.MustCompile(`(?s)\n.*|:? ?node contents:.*|in object .*|\[patch: .*|trouble expanding list.*`)

// What says nothing to a user: what a plugin was configured with, an address in
// memory, and that a folder is no file.
var noise = regexp.MustCompile("(?s) with config: `[^`]*`|" + ` &\{0x[^}]*\}|accumulation err='accumulating resources from '[^']*': '[^']*' must resolve to a file': |': must build at directory: .*`)

// explain says what kustomize said of a file, but no more of what it holds than
// names.
func explain(err error, file, dir string) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, errTime), errors.Is(err, errMemory):
		return &Error{File: file, Line: 1, Problem: err.Error() + ": write fewer replacements and patches that copy, or build it in an earlier step, and name the file with the result in manifests"}
	}
	text := strings.ReplaceAll(err.Error(), "'/", "'") // a path from the workspace
	// Each kustomization that led here said so; the last one knows.
	for _, lead := range []string{"recursed accumulation of path ", "accumulation err=", "accumulating resources: ", "accumulateDirectory: "} {
		if at := strings.LastIndex(text, lead); at >= 0 {
			text = text[at:]
		}
	}
	text = strings.ReplaceAll(text, "json: unable to ", "json: cannot ") // the library takes turns
	text = content.ReplaceAllString(noise.ReplaceAllString(text, ""), "")
	return &Error{File: file, Line: 1, Problem: "kustomize: " + redact.Phrase(text) + ": correct it; `kubectl kustomize " + dir + "` shows the same"}
}

// unread says why a file is no kustomization, in other words than Go's.
func unread(err error) string {
	text := strings.TrimPrefix(err.Error(), "invalid Kustomization: ")
	if m := unknownField.FindStringSubmatch(text); m != nil && m[1] != "" {
		return fmt.Sprintf("kustomize knows no field %s: check how it is written", quoted(m[1]))
	} else if m != nil {
		return fmt.Sprintf("%s is of another type than kustomize's: write a list as one, and a map as one", m[2])
	}
	return "the file is no kustomization: " + redact.Phrase(text) + ": write it as a map, with what to build in resources"
}
