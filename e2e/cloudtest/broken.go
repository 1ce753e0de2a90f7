package cloudtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// broken are what the images of versions that do not serve hold, in the words of
// package node, by the name of the catalogue's golden file. They stand in one place
// because the verdict names what a model prints: the catalogue and the tier on a
// real node come to the same one only about the same model.
var broken = map[string]map[string]string{
	"crash-at-start": {"exit-code": "1", "log": "Traceback (most recent call last):\n  File \"serve.py\", line 3, in <module>\nValueError: cannot load weights"},
	"crash-after-ready": {
		"exit-code": "3", "exit-after": "4s", "log": "listening on :3000\nFatal: out of file descriptors",
	},
	"exec-format-error":        {"foreign": "true"},
	"init-container":           {"exit-code": "7", "log": "403 Forbidden: gs://weights/model.bin"},
	"Job":                      {"exit-code": "1", "exit-after": "3s", "log": "relation models does not exist"},
	"liveness":                 {"unhealthy-path": "/healthz"},
	"never-listens":            {"port": "8080", "log": "listening on :8080"},
	"never-ready":              {"status": "503", "log": "loading weights"},
	"out-of-memory":            {"out-of-memory": "true", "log": "loading weights"},
	"pull-denied":              {"pull": "denied"},
	"pull-unauthorized":        {"pull": "unauthorized"},
	"StatefulSet":              {"status": "500", "log": "loading weights"},
	"StatefulSet-that-crashes": {"exit-code": "1", "log": "ValueError: cannot load weights"},
}

// Broken is what the image of a version holds that does not serve.
func Broken(name string) map[string]string {
	words, ok := broken[name]
	if !ok {
		panic("no broken version is called " + name)
	}
	return maps.Clone(words)
}

// BrokenEnv is the same as variables of a container, for one whose image others
// have as well.
func BrokenEnv(name string) string {
	var env []string
	words := Broken(name)
	for _, word := range slices.Sorted(maps.Keys(words)) {
		env = append(env, fmt.Sprintf("{name: MODEL_%s, value: %q}", strings.ToUpper(strings.ReplaceAll(word, "-", "_")), words[word]))
	}
	return "env: [" + strings.Join(env, ", ") + "]"
}
