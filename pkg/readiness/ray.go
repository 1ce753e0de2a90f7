package readiness

import (
	"fmt"
	"maps"
	"slices"

	"github.com/org/deploy-model-action/pkg/object"
)

// rayService is ready when KubeRay has endpoints for it, no new cluster is being
// brought up beside the one that serves, and each of its Serve applications runs:
// a change of serveConfigV2 goes to the cluster that is there.
func rayService(v view) Result {
	if r, ok := v.unobserved(); ok {
		return r
	}
	active, pending := object.Map(v.live.Object, "status", "activeServiceStatus"), object.Map(v.live.Object, "status", "pendingServiceStatus")
	upgrading := pending["rayClusterName"] != nil && pending["rayClusterName"] != ""
	newest := active
	if upgrading {
		newest = pending
	}
	if name, app := application(newest, "DEPLOY_FAILED"); name != "" {
		return failed("application "+line(name)+" failed to deploy", Failure{
			Reason: "DeployFailed", Cause: saying(fmt.Sprintf("Ray Serve cannot deploy application %q", line(name)), app), Lasting: true,
			Fix: "correct the application or its serveConfigV2",
		})
	}
	ready, known := v.condition("Ready")
	switch {
	case known && (ready.Status != "True" || !ready.About(v.generation())):
		return v.ready()
	case !known && object.Text(v.live, "status", "serviceStatus") != "Running": // before KubeRay 1.3
		return Result{Message: saying("waiting for Ray Serve", object.Text(v.live, "status", "serviceStatus"))}
	case upgrading, v.underWay("UpgradeInProgress"):
		return Result{Message: "a new Ray cluster is being brought up; the earlier one serves"}
	}
	if name, app := application(active, ""); name != "" {
		return Result{Message: fmt.Sprintf("waiting for application %q: %s", line(name), line(app))}
	}
	return Result{Outcome: Ready, Message: countOf(v.status("numServeEndpoints"), "endpoint")}
}

// application finds the first that is of a status, or with "" that does not run,
// and what it says.
func application(of map[string]any, wanted string) (name, message string) {
	all := object.Map(of, "applicationStatuses")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		app, _ := all[name].(map[string]any)
		status, _ := app["status"].(string)
		text, _ := app["message"].(string)
		switch {
		case wanted == "" && status != "RUNNING":
			return name, status + " " + text
		case wanted != "" && status == wanted:
			return name, text
		}
	}
	return "", ""
}

// rayCluster is ready when its head and all workers are. A cluster does not update
// pods that are there, and RayClusterProvisioned stays true for ever: it is the
// state, and where there is none the numbers, that say how it is now.
func rayCluster(v view) Result {
	if object.Flag(v.live, "spec", "suspend") {
		return Result{Outcome: NotWaitedFor, Warning: "suspended: it runs no pod until somebody resumes it; not waited for"}
	}
	if r, ok := v.unobserved(); ok {
		return r
	}
	wanted, ready := v.status("desiredWorkerReplicas"), v.status("readyWorkerReplicas")
	message := fmt.Sprintf("%d of %d workers ready", ready, wanted)
	if c, ok := v.condition("ReplicaFailure"); ok && c.Status == "True" {
		return Result{Message: message + "; " + because(c)}
	}
	head, known := v.condition("HeadPodReady")
	state := object.Text(v.live, "status", "state")
	switch {
	case state == "failed":
		return failed(message, Failure{
			Reason: "RayClusterFailed", Cause: saying("KubeRay says that it failed", object.Text(v.live, "status", "reason")),
			Fix: "correct what the message says", Lasting: true,
		})
	case known && (head.Status != "True" || !head.About(v.generation())):
		return Result{Message: saying(message+"; waiting for its head", because(head))}
	case state == "ready" && ready >= wanted, state == "" && known && ready >= wanted && v.underWay("RayClusterProvisioned"):
		return Result{Outcome: Ready, Message: message}
	}
	return Result{Message: message}
}

// rayJob waits for its end, as of any Job.
func rayJob(v view) Result {
	if object.Flag(v.live, "spec", "suspend") {
		return Result{Outcome: NotWaitedFor, Warning: "suspended: it runs nothing until somebody resumes it; not waited for"}
	}
	if r, ok := v.unobserved(); ok {
		return r
	}
	deployment, status := object.Text(v.live, "status", "jobDeploymentStatus"), object.Text(v.live, "status", "jobStatus")
	message := line(deployment + " " + status)
	switch {
	case deployment == "Failed", deployment == "ValidationFailed", deployment == "Complete" && status != "SUCCEEDED":
		reason := object.Text(v.live, "status", "reason")
		if reason == "" {
			reason = "RayJobFailed"
		}
		return failed(message, Failure{
			Reason: line(reason), Cause: saying("the job ended as "+message, object.Text(v.live, "status", "message")), Final: true,
			Fix: "correct the cause, and give the RayJob a new name or delete it: one that ended does not start again",
		})
	case deployment == "Complete":
		return Result{Outcome: Ready, Message: "succeeded"}
	}
	return Result{Message: message}
}
