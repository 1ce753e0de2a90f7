package readiness

import (
	"fmt"
	"time"

	"github.com/org/deploy-model-action/pkg/object"
)

// certificatePatience is how long a certificate is waited for: long enough for one
// that is there already, and too short for a new one.
const certificatePatience = 20 * time.Second

// certificate evaluates a ManagedCertificate of GKE. Google issues it when the
// domains lead to the load balancer, which somebody has to see to, and takes up to
// an hour: a deploy neither waits for that nor fails of it.
func certificate(v view) Result {
	status := object.Text(v.live, "status", "certificateStatus")
	active := map[string]bool{}
	missing := ""
	for _, item := range object.List(v.live.Object, "status", "domainStatus") {
		m, _ := item.(map[string]any)
		domain, _ := m["domain"].(string)
		state, _ := m["status"].(string)
		active[domain] = state == "Active"
		if state != "Active" && missing == "" {
			missing = line(domain + " is " + state)
		}
	}
	for _, item := range object.List(v.live.Object, "spec", "domains") {
		domain, _ := item.(string)
		if _, known := active[domain]; !known && missing == "" {
			missing = line(domain + " is not part of it yet")
		}
	}
	message := "certificate " + line(status)
	if status == "" {
		message = "no certificate yet"
	}
	if missing != "" {
		message += ", " + missing
	}
	switch {
	case status == "Active" && missing == "":
		return Result{Outcome: Ready, Message: "active"}
	case status == "ProvisioningFailedPermanently":
		return failed(message, Failure{
			Reason: status, Cause: "Google does not issue the certificate: " + message, Lasting: true,
			Fix: "let the domain's DNS and CAA records allow Google's authority, then delete the ManagedCertificate and deploy again",
		})
	}
	if left := certificatePatience - v.Elapsed; v.Changed && left > 0 {
		return Result{Message: message, RecheckAfter: left}
	}
	return Result{Outcome: NotWaitedFor, Warning: fmt.Sprintf(
		"%s: Google issues it when its domains lead to the load balancer, which takes up to an hour; until then https does not answer; not waited for", message)}
}
