package record

import (
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// rules take out of a message what differs from one run to the next. Order
// matters: what holds another comes first.
var rules = []struct {
	find    *regexp.Regexp
	replace string
}{
	{regexp.MustCompile(`sha256:[0-9a-f]{64}`), "sha256:DIGEST"},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "ID"},
	{regexp.MustCompile(`\b[0-9a-f]{40}\b`), "SHA"},
	{regexp.MustCompile(`\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`), "UID"},
	{regexp.MustCompile(`\b\d+\.\d+\.\d+\.\d+\b`), "IP"},
	{regexp.MustCompile(`\bIP:\d+->`), "IP:PORT->"},
	{regexp.MustCompile(`in [\d.]+(?:ms|s|µs) \([\d.]+(?:ms|s|µs) including waiting\)\. Image size: \d+ bytes`), "in TIME (TIME including waiting). Image size: SIZE bytes"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)`), "TIME"},
}

// Normal takes names and what the rules find out of a message.
func Normal(message string, names ...string) string {
	message = strings.NewReplacer(names...).Replace(message)
	for _, rule := range rules {
		message = rule.find.ReplaceAllString(message, rule.replace)
	}
	return message
}

// namesOf are a pod's own names, with what replaces them.
func namesOf(pod *corev1.Pod) []string {
	var names []string
	for _, pair := range [][2]string{
		{string(pod.UID), "UID"}, {pod.Name, "POD"}, {pod.Namespace, "NAMESPACE"}, {pod.Spec.NodeName, "NODE"},
	} {
		if pair[0] != "" {
			names = append(names, pair[0], pair[1])
		}
	}
	return names
}
