package google

import (
	"cmp"
	"strings"
)

// Advice is what a reason means, and what to do about it.
type Advice struct {
	Title string // a few words, e.g. "API not enabled"
	Cause string // a sentence without a full stop
	Fix   string // what to do
}

// advices are by reason: https://cloud.google.com/apis/docs/reference/google.api.ErrorReason
// {service} and {project} are those of the error.
var advices = map[string]Advice{
	"SERVICE_DISABLED": {
		"API not enabled", "the API {service} is not enabled in project {project}",
		"enable it with `gcloud services enable {service} --project={project}`, and run the job again some minutes later",
	},
	"BILLING_DISABLED": {
		"Billing is off", "billing is off in project {project}",
		"link a billing account to it with `gcloud billing projects link {project} --billing-account=ACCOUNT`, and run the job again some minutes later",
	},
	"CONSUMER_SUSPENDED": {
		"Project suspended", "Google has suspended project {project}",
		"look at the Cloud console for the reason, where an owner of the project can appeal",
	},
	"CONSUMER_INVALID": {
		"Project not found", "project {project} does not exist, or is being deleted",
		"correct project_id, or restore the project with `gcloud projects undelete {project}`",
	},
	"ACCESS_TOKEN_SCOPE_INSUFFICIENT": {
		"Scope missing", "the token was made without the scope https://www.googleapis.com/auth/cloud-platform, whatever roles its owner has",
		"give the runner's machine or node pool the access scope cloud-platform, or give it to the step that makes the token",
	},
	"ACCESS_TOKEN_EXPIRED": {
		"Credentials refused", "the token has ended", "run the job again, and set the clock of the runner by NTP if that does not help",
	},
	"ACCOUNT_STATE_INVALID": {
		"Credentials refused", "the account is disabled or deleted", "enable it with `gcloud iam service-accounts enable EMAIL`, or use another one",
	},
	"ORG_RESTRICTION_VIOLATION": {
		"Organization restricted", "the runner's network lets requests through to certain organizations only, and project {project} is in none of them",
		"let the network's administrator add the project's organization to the restriction, or use a runner in another network",
	},
	"SECURITY_POLICY_VIOLATED": {
		"Service perimeter", "a service perimeter (VPC Service Controls) refuses",
		"let an administrator admit this principal or runner to the perimeter",
	},
	"USER_PROJECT_DENIED": {
		"Role missing", "this principal may not use project {project} for the quota of its requests",
		"let an administrator grant roles/serviceusage.serviceUsageConsumer on it",
	},
	"LOCATION_POLICY_VIOLATED": {
		"Location policy", "a policy of the organization forbids this location",
		"let an administrator change the policy, or use another location",
	},
	"LOCATION_ORG_POLICY_VIOLATED": {
		"Location policy", "a policy of the organization forbids this location",
		"let an administrator change the policy, or use another location",
	},
	"TLS_ORG_POLICY_VIOLATED": {
		"TLS policy", "a policy of the organization forbids the TLS version of this connection",
		"let the runner reach Google without a proxy that opens TLS, or let an administrator change constraints/gcp.restrictTLSVersion",
	},
	"RESOURCE_USAGE_RESTRICTION_VIOLATED": {
		"Organization policy", "a policy of the organization (constraints/gcp.restrictServiceUsage) forbids the use of {service} in project {project}",
		"let an administrator allow the service there",
	},
	"RESOURCE_PROJECT_INVALID": {
		"Project not found", "the project that the request is for is not a valid one, or is being deleted",
		"correct project_id and what names a project in the other inputs",
	},
	"SERVICE_NOT_VISIBLE": {
		"API not visible", "the API {service} is not to be seen from project {project}",
		"let its owner share it, or correct project_id",
	},
	"GCP_SUSPENDED": {
		"Account suspended", "Google has suspended the use of its cloud by this account or its organization",
		"look at the Cloud console for the reason, where its owner can appeal",
	},
	"USER_BLOCKED_BY_ADMIN": {
		"Account blocked", "an administrator of the organization has blocked this account for {service}",
		"let the administrator of Google Workspace allow it, or use a service account",
	},
	"ACCESS_TOKEN_TYPE_UNSUPPORTED": {
		"Credentials refused", "the API does not take tokens of this kind", "give credentials of a service account, by key or through workload identity federation",
	},
	"CREDENTIALS_MISSING": {
		"Credentials refused", "the request came without credentials", "let the runner reach Google without a proxy that removes the header Authorization",
	},
	// The names of the next three are ours: Google has words for them and no reason.
	"DENY_POLICY": {
		"Deny policy", "a deny policy forbids it, whatever roles there are",
		"let an administrator add this principal to the policy's exceptions; `gcloud iam policies list --kind=denypolicies --attachment-point=cloudresourcemanager.googleapis.com/projects/{project}` shows those of the project, and its folders and organization may have more",
	},
	"ACCESS_BOUNDARY": {
		"Access boundary", "a principal access boundary policy does not let this principal reach it, whatever roles there are",
		"let an administrator of the organization add it to the boundary's resources",
	},
	"ORG_POLICY": {
		"Organization policy", "a policy of the organization forbids it",
		"let an administrator change the constraint that Google names, or make an exception for project {project}",
	},
}

// Advice is what is known about the error's reason; false if nothing is. A missing
// role is not here: which one is wanted, the caller knows (RoleMissing).
func (e *Error) Advice() (Advice, bool) {
	a, known := advices[e.Reason]
	fill := strings.NewReplacer("{service}", cmp.Or(e.Service, "SERVICE"), "{project}", cmp.Or(e.Project, "PROJECT"))
	a.Cause, a.Fix = fill.Replace(a.Cause), fill.Replace(a.Fix)
	return a, known
}

// RefusedError is that Google refused something for a reason of the table.
type RefusedError struct {
	Act string // what was asked, e.g. `read cluster "model"`
	Advice
	Err *Error
}

// Refused is an error for what was asked; nil if the reason is not in the table.
// Where Google names no service or project, they are the given ones.
func (e *Error) Refused(act, service, project string) error {
	known := *e
	known.Service, known.Project = cmp.Or(e.Service, service), cmp.Or(e.Project, project)
	a, ok := known.Advice()
	if !ok {
		return nil
	}
	return &RefusedError{Act: act, Advice: a, Err: e}
}

func (e *RefusedError) Error() string {
	words := " (" + e.Err.Words() + ")"
	if e.Err.Reason == "SERVICE_DISABLED" {
		words = "" // has nothing to add, at length
	}
	return e.Act + ": " + e.Cause + words + ": " + e.Fix
}

// Title returns that of the advice.
func (e *RefusedError) Title() string { return e.Advice.Title }

// Unwrap returns Google's error.
func (e *RefusedError) Unwrap() error { return e.Err }
