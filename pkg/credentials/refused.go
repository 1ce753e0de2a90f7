package credentials

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/org/deploy-model-action/pkg/google"
)

func redirected(act, host string, status int) error {
	return &RefusedError{
		Act:   act,
		Cause: fmt.Sprintf("%s answered with a redirect (status %d), which is not followed with a credential in hand", host, status),
		Fix:   "let the runner reach " + host + " itself, without a portal or proxy that answers in its place",
	}
}

func noToken(act string) error {
	return &RefusedError{
		Act: act, Cause: "the answer holds no token",
		Fix: "let the runner reach Google itself, without a portal or proxy that answers in its place",
	}
}

// refusedKey explains why Google takes no assertion that a key has signed.
// skew is by how much Google's clock is ahead, if that may be the reason.
func refusedKey(act, email string, said refusal, skew time.Duration) error {
	e := &RefusedError{Act: act}
	switch text := strings.ToLower(said.text); {
	case strings.Contains(text, "invalid jwt signature"):
		e.Cause = "Google does not know this key, so it was deleted or replaced"
		e.Fix = "make a new one with `gcloud iam service-accounts keys create key.json --iam-account=" + email + "` and put the file into the secret"
	case strings.Contains(text, "short-lived token"):
		e.Cause = "the runner's clock is wrong"
		if skew.Abs() > time.Minute {
			e.Cause += ", by " + skew.Abs().Round(time.Minute).String()
		}
		e.Fix = "set the clock of the runner, by NTP"
	case strings.Contains(text, "account not found") || strings.Contains(text, "account has been deleted"):
		e.Cause = "the service account does not exist any more"
		e.Fix = "make a new account and a key for it, or restore it with `gcloud beta iam service-accounts undelete` within 30 days"
	case strings.Contains(text, "disabled") || said.code == "disabled_client":
		e.Cause = "the key or its service account is disabled"
		e.Fix = "enable it with `gcloud iam service-accounts enable " + email + "`, or with `gcloud iam service-accounts keys enable`"
	case said.code == "invalid_grant":
		e.Cause = "Google does not take this key"
		e.Fix = "look whether the key still exists with `gcloud iam service-accounts keys list --iam-account=" + email + "`, and make a new one if it does not"
	default:
		e.Cause = "Google refuses"
		e.Fix = "look whether the key and its service account still exist with `gcloud iam service-accounts keys list --iam-account=" + email + "`"
	}
	e.Cause += " (" + said.words() + ")"
	return e
}

// refusedExchange explains why Google takes no identity token of this workflow.
func refusedExchange(act string, p provider, said refusal) error {
	e := &RefusedError{Act: act}
	project := "--project=" + p.number + " --location=global"
	describe := fmt.Sprintf("`gcloud iam workload-identity-pools providers describe %s --workload-identity-pool=%s %s`", p.id, p.pool, project)
	switch text := strings.ToLower(said.text); {
	case strings.Contains(text, "attribute condition"):
		e.Cause = "the provider's attribute condition does not let this workflow in"
		e.Fix = "compare the condition with this repository, branch and event: " + describe
	case strings.Contains(text, "audience in id token") || (strings.Contains(text, "audience") && strings.Contains(text, "does not match")):
		e.Cause = "the provider expects another audience than its own name"
		e.Fix = "take the provider's list of allowed audiences away, or add https://iam.googleapis.com/" + p.String() + " to it: " + describe
	case strings.Contains(text, "issuer in id token"):
		e.Cause = "the provider trusts another issuer than GitHub"
		e.Fix = "set its issuer to https://token.actions.githubusercontent.com, or to that of your GitHub Enterprise: " + describe
	case said.code == "invalid_target":
		e.Cause = "the pool or the provider does not exist, or is disabled or deleted"
		e.Fix = fmt.Sprintf("compare workload_identity_provider with `gcloud iam workload-identity-pools providers list --workload-identity-pool=%s %s`", p.pool, project)
	case strings.Contains(text, `invalid value for "audience"`):
		e.Cause = "Google does not take the provider's name"
		e.Fix = "look whether number, pool and provider are right: " + describe
	case strings.Contains(text, "stale"):
		e.Cause = "GitHub's identity token is too old for Google"
		e.Fix = "set the clock of the runner, by NTP, and run the job again"
	case strings.Contains(text, "mapped attribute"):
		e.Cause = "the provider maps an attribute that this workflow has not, or has too long"
		e.Fix = "look at its attribute mapping: " + describe
	default:
		e.Cause = "Google refuses"
		e.Fix = "look at the provider: " + describe
	}
	e.Cause += " (" + said.words() + ")"
	return e
}

// explainGenerate explains why Google makes no token of the last account of a
// chain, which is longer than one if there are delegates.
func explainGenerate(act string, from *identity, chain []string, answer *google.Error) error {
	e := &RefusedError{Act: act, Err: answer}
	answer.Service = cmp.Or(answer.Service, hostIAM)
	advice, known := answer.Advice()
	switch {
	case known:
		e.Cause, e.Fix = advice.Cause, advice.Fix
	case answer.RoleMissing() && len(chain) > 1:
		e.Cause = "one of the chain from " + from.principal + " may not make tokens of the next, or does not exist"
		e.Fix = "grant roles/iam.serviceAccountTokenCreator to each on the next, which takes some minutes to act: " + grants(from, chain, "roles/iam.serviceAccountTokenCreator")
	case answer.RoleMissing():
		role := "roles/iam.serviceAccountTokenCreator"
		if from.federated {
			role = "roles/iam.workloadIdentityUser"
		}
		e.Cause = from.principal + " may not make tokens of the account: iam.serviceAccounts.getAccessToken is missing, or the account does not exist"
		e.Fix = "grant " + role + " on it, which takes some minutes to act: " + grants(from, chain, role)
	case answer.Code == http.StatusNotFound:
		e.Cause = "the service account does not exist"
		e.Fix = "look at service_account, and at the accounts that there are: `gcloud iam service-accounts list`"
	case answer.Code == http.StatusUnauthorized:
		e.Cause = "Google does not take the token of " + from.principal
		e.Fix = "run the job again, and look whether the identity was deleted if that does not help"
	default:
		e.Cause = "Google refuses"
		e.Fix = "look at service_account and its delegates, each of which needs roles/iam.serviceAccountTokenCreator on the next"
	}
	if answer.Reason != "SERVICE_DISABLED" {
		e.Cause += " (" + answer.Words() + ")"
	}
	return e
}

// grants are the commands that give each of a chain the role on the next.
func grants(from *identity, chain []string, role string) string {
	principal := from.principal
	var commands []string
	for _, account := range chain {
		commands = append(commands, "`"+google.Grant("iam service-accounts", account, principal, role)+"`")
		principal = account
	}
	return strings.Join(commands, ", ")
}
