package cloudtest

import (
	"encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// recordPrefix begins the names of what the action keeps about a release.
const recordPrefix = "deploy-model-action."

// Record is the release record of the namespace, which holds one release.
func (x *Test) Record() *corev1.ConfigMap {
	x.Helper()
	all, err := x.Kube.CoreV1().ConfigMaps(x.Namespace).List(x.Context(), metav1.ListOptions{})
	if err != nil {
		x.Fatal(err)
	}
	var found *corev1.ConfigMap
	for i := range all.Items {
		if strings.HasPrefix(all.Items[i].Name, recordPrefix) {
			if found != nil {
				x.Errorf("two records: %s and %s", found.Name, all.Items[i].Name)
			}
			found = &all.Items[i]
		}
	}
	return found
}

// UndoLogs are the names of the undo logs that are there.
func (x *Test) UndoLogs() []string {
	x.Helper()
	all, err := x.Kube.CoreV1().Secrets(x.Namespace).List(x.Context(), metav1.ListOptions{})
	if err != nil {
		x.Fatal(err)
	}
	var names []string
	for _, s := range all.Items {
		if strings.HasPrefix(s.Name, recordPrefix) {
			names = append(names, s.Name)
		}
	}
	return names
}

// NothingIsOpen checks that there is a record in which every run has its outcome,
// and no undo log.
func (x *Test) NothingIsOpen() bool {
	x.Helper()
	record := x.Record()
	if record == nil {
		x.Error("there is no release record")
		return false
	}
	content, err := json.MarshalIndent(record.Data, "", "  ")
	if err != nil {
		x.Fatal(err)
	}
	x.Logf("record %s:\n%s", record.Name, content)
	if logs := x.UndoLogs(); len(logs) > 0 {
		x.Errorf("undo logs are left: %s", strings.Join(logs, ", "))
		return false
	}
	return true
}
