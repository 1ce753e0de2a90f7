package readiness

// knative evaluates a Service of Knative. Its condition Ready is Unknown as long as
// something is under way, and False when it has come to an end that is not the
// wanted one; from some of those it comes back when its pods are started again.
func knative(v view) Result {
	if r, ok := v.unobserved(); ok {
		return r
	}
	r := v.ready()
	if c, _ := v.condition("Ready"); c.Status == "False" && c.About(v.generation()) {
		return failed(r.Message, Failure{
			Reason: line(c.Reason), Cause: saying("Knative says that it failed", because(c)),
			Fix: "correct what the message says", Lasting: true,
		})
	}
	return r
}
