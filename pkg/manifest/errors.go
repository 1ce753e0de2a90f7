package manifest

import (
	"fmt"
	"strconv"
	"strings"
)

// Error is one mistake in the manifests. Its text never holds what a file holds
// beyond the names of keys and of objects, and the expression of an annotation of
// ours, for a file may hold a secret.
type Error struct {
	File    string // relative to the workspace; "" if the mistake is in no file
	Line    int    // from 1; 0 if the mistake has no line
	Object  string // "Deployment classifier", as far as it is known
	Problem string // the sentence, ending with what to do
}

func (e *Error) Error() string {
	switch {
	case e.File == "":
		return e.Problem
	case e.Line == 0:
		return fmt.Sprintf("%s: %s", e.File, e.Problem)
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Problem)
}

// quotedPath names an item of the paths as the user wrote it.
func quotedPath(item string) string { return fmt.Sprintf("manifests %q", item) }

// quotedKey is a key of a file in an error: cut, since nothing bounds it.
func quotedKey(key string) string {
	const most = 80
	if len(key) > most {
		key = strings.ToValidUTF8(key[:most], "") + "…"
	}
	return strconv.Quote(key)
}
