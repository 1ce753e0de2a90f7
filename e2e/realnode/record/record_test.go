package record_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/e2e/realnode/record"
)

func TestNormal(t *testing.T) {
	t.Parallel()
	const digest = "0b2e8b0d6c3b8c9f8a3cf2c6e1d2b7a4f5e6d7c8b9a0f1e2d3c4b5a697887766"
	for in, want := range map[string]string{
		`Pulling image "host/web:0123456789abcdef0123456789abcdef01234567@sha256:` + digest + `"`:                `Pulling image "host/web:SHA@sha256:DIGEST"`,
		`unable to retrieve container logs for containerd://` + digest:                                           `unable to retrieve container logs for containerd://ID`,
		`Get "http://172.18.128.3:3000/readyz": dial tcp 172.18.128.3:3000: connect: connection refused`:         `Get "http://IP:3000/readyz": dial tcp IP:3000: connect: connection refused`,
		`read tcp 172.18.0.2:41234->172.18.128.3:3000: read: connection reset by peer`:                           `read tcp IP:PORT->IP:3000: read: connection reset by peer`,
		`Successfully pulled image "web" in 1.2s (2.345s including waiting). Image size: 3021 bytes.`:            `Successfully pulled image "web" in TIME (TIME including waiting). Image size: SIZE bytes.`,
		`back-off 1m20s restarting failed container=model pod=web-1_space(11111111-2222-3333-4444-555555555555)`: `back-off 1m20s restarting failed container=model pod=POD_NAMESPACE(UID)`,
		`0/1 nodes are available: 1 Insufficient nvidia.com/gpu.`:                                                `0/1 nodes are available: 1 Insufficient nvidia.com/gpu.`,
		`probe failed since 2026-11-24T15:14:49.502637705Z`:                                                      `probe failed since TIME`,
	} {
		if got := record.Normal(in, "web-1", "POD", "space", "NAMESPACE"); got != want {
			t.Errorf("%s:\n%s, want\n%s", in, got, want)
		}
	}
}

// TestDiffer takes a crash that was seen in more detail than another.
func TestDiffer(t *testing.T) {
	t.Parallel()
	crashed := record.State{State: "terminated", Reason: "Error", ExitCode: 1}
	waits := func(restarts int32, delay string) record.Status {
		return record.Status{Phase: "Running", Containers: []record.Container{{
			Name: "model", Restarts: restarts, Last: crashed,
			State: record.State{State: "waiting", Reason: "CrashLoopBackOff", Message: "back-off " + delay + " restarting failed container"},
		}}}
	}
	ran := record.Status{Phase: "Running", Containers: []record.Container{{Name: "model", State: record.State{State: "running"}}}}
	want := record.Record{
		Statuses: []record.Status{ran, waits(1, "10s"), waits(2, "20s"), waits(4, "1m20s")},
		Logs:     map[string]record.Log{"model": {Current: "loading", Previous: "loading"}},
	}
	seen := func(statuses ...record.Status) record.Record {
		return record.Record{Statuses: statuses, Logs: want.Logs}
	}

	for name, test := range map[string]struct {
		got            record.Record
		lacks, besides []string
	}{
		"less seen": {got: seen(waits(2, "20s"))},
		"another delay": {
			got:     seen(waits(2, "30s")),
			lacks:   []string{`container model: waiting CrashLoopBackOff "back-off DELAY restarting failed container"; ready false, started `},
			besides: []string{`container model: waiting CrashLoopBackOff "back-off 30s restarting failed container"; ready false, started `},
		},
		"the delay before": {got: seen(waits(2, "10s"), waits(4, "2m40s"))},
		"a delay of long before": {
			got:     seen(waits(4, "10s")),
			lacks:   []string{`container model: waiting CrashLoopBackOff "back-off DELAY restarting failed container"; ready false, started `},
			besides: []string{`container model: waiting CrashLoopBackOff "back-off 10s restarting failed container"; ready false, started `},
		},
		"an event": {
			got:     record.Record{Statuses: want.Statuses, Logs: want.Logs, Events: []record.Event{{Type: "Warning", Reason: "BackOff", Message: "m", From: "kubelet"}}},
			besides: []string{"event Warning BackOff (kubelet): m"},
		},
		"a log": {
			got:     record.Record{Statuses: want.Statuses, Logs: map[string]record.Log{"model": {Current: "a", Previous: "pass"}}},
			lacks:   []string{`log of model, previous: "loading"`, `log of model: "loading"`},
			besides: []string{`log of model: "a"`},
		},
		"before an image was pulled": {got: seen(waits(2, "20s"), record.Status{Phase: "Running", Containers: []record.Container{{Name: "model", Image: "web", State: record.State{State: "waiting", Reason: "ContainerCreating"}}}})},
		"a log that is gone": {
			got: record.Record{Statuses: want.Statuses, Logs: map[string]record.Log{"model": {Current: "loading", Previous: "unable to retrieve container logs for containerd://ID"}}},
		},
	} {
		lacks, besides := record.Differ(want, test.got, func(fact string) bool { return fact == `log of model, previous: "pass"` })
		if diff := cmp.Diff([][]string{test.lacks, test.besides}, [][]string{lacks, besides}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
