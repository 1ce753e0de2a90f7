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

// Release is what a record remembers of one run.
type Release struct {
	Run      int64  `json:"run"`
	Attempt  int    `json:"attempt"`
	Commit   string `json:"commit"`
	Outcome  string `json:"outcome"`
	Started  string `json:"started"`
	Finished string `json:"finished"`
}

// Releases are those of a record, the newest first.
func (x *Test) Releases(record *corev1.ConfigMap) []Release {
	x.Helper()
	var all []Release
	for line := range strings.Lines(record.Data["releases"]) {
		var r Release
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			x.Fatalf("record %s: %v in %s", record.Name, err, line)
		}
		all = append(all, r)
	}
	return all
}

// Verified is the commit that was verified last, as the record has it.
func (x *Test) Verified(record *corev1.ConfigMap) string {
	x.Helper()
	for _, r := range x.Releases(record) {
		if r.Outcome == "deployed" || r.Outcome == "unchanged" {
			return r.Commit
		}
	}
	return ""
}

// NothingIsOpen checks that the record's last run has ended, with an outcome, that
// there is no undo log, that the record names none, and that what it holds to be
// verified is what is there. A run that was killed keeps its place among the
// releases, without an outcome.
func (x *Test) NothingIsOpen() bool {
	x.Helper()
	record := x.Record()
	if record == nil {
		x.Error("there is no release record")
		return false
	}
	for _, r := range x.Releases(record) {
		x.Logf("record: run %d, attempt %d, commit %s: %s (%s to %s)", r.Run, r.Attempt, x.Short(r.Commit), r.Outcome, r.Started, r.Finished)
	}
	ok := true
	wrong := func(format string, args ...any) {
		x.Helper()
		ok = false
		x.Errorf(format, args...)
	}
	if all := x.Releases(record); len(all) == 0 || all[0].Outcome == "" {
		wrong("the record's newest release has no outcome")
	}
	var holder struct{ Finished bool }
	if err := json.Unmarshal([]byte(record.Data["holder"]), &holder); err != nil || !holder.Finished {
		wrong("the record is held by a run that has not finished (%v): %s", err, record.Data["holder"])
	}
	for line := range strings.Lines(record.Data["undo"]) {
		// An obsolete one is deleted when the outcome is recorded; whether it is, is below.
		var undo struct{ Obsolete bool }
		if err := json.Unmarshal([]byte(line), &undo); err != nil || !undo.Obsolete {
			wrong("the record names an undo log that the next run inherits (%v): %s", err, line)
		}
	}
	if verified := x.Verified(record); ok && verified != "" {
		if commit, err := x.Commit(); err == nil && commit != verified {
			wrong("the record says that commit %s was verified last, and the objects are of commit %s", x.Short(verified), x.Short(commit))
		}
	}
	if logs := x.UndoLogs(); len(logs) > 0 {
		wrong("undo logs are left: %s", strings.Join(logs, ", "))
	}
	return ok
}
