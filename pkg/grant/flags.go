package grant

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The roles of a deploy: to find the cluster and write to it, and to read the images.
var defaultRoles = []string{"roles/container.developer", "roles/artifactregistry.reader"}

const usage = `Usage: deploy-model-action grant --project PROJECT --service-account EMAIL [--role ROLE]... [--dry-run]

Gives a service account the roles that a deploy needs on the project, and leaves
everything else in the project's policy as it is.

  --project PROJECT        ID of the project
  --service-account EMAIL  account that the workflow deploys as
  --role ROLE              role to give, instead of roles/container.developer and
                           roles/artifactregistry.reader; may be repeated. A workflow
                           that publishes images (push) needs roles/artifactregistry.writer.
  --dry-run                print what would be added, and change nothing

It acts as you, and you need roles/resourcemanager.projectIamAdmin:
  docker run --rm -e GOOGLE_OAUTH_ACCESS_TOKEN="$(gcloud auth print-access-token)" IMAGE grant ...
  docker run --rm -v ~/.config/gcloud:/root/.config/gcloud:ro IMAGE grant ...
      after gcloud auth application-default login`

var (
	projectForm = regexp.MustCompile(`^([a-z0-9.-]{1,63}:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$`)
	accountForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}@[a-z0-9][a-z0-9.-]{0,127}\.gserviceaccount\.com$`)
	roleForm    = regexp.MustCompile(`^(roles|(projects|organizations)/[a-z0-9.:-]+/roles)/[A-Za-z0-9_.]{1,100}$`)
)

// order is what was asked for.
type order struct {
	project, account string
	roles            []string
	dryRun, help     bool
}

// member is how policies name the account.
func (o order) member() string { return "serviceAccount:" + o.account }

// parse reads the arguments, and finds every mistake in them.
func parse(args []string) (o order, mistakes []string) {
	mistake := func(format string, args ...any) { mistakes = append(mistakes, fmt.Sprintf(format, args...)) }
	for i := 0; i < len(args); i++ {
		name, value, given := strings.Cut(args[i], "=")
		if strings.HasPrefix(name, "-") {
			name = "--" + strings.TrimLeft(name, "-")
		}
		switch name {
		case "--help", "--h":
			return order{help: true}, nil
		case "--dry-run":
			if given && value != "true" && value != "false" {
				mistake("--dry-run %q: neither true nor false", value)
			}
			o.dryRun = value != "false"
			continue
		case "--project", "--service-account", "--role":
		default:
			mistake("%q: no such flag", args[i])
			continue
		}
		if !given {
			if i++; i == len(args) || strings.HasPrefix(args[i], "--") {
				i--
				mistake("%s: its value is missing", name)
				continue
			}
			value = args[i]
		}
		if problem := o.set(name, value); problem != "" {
			mistake("%s %q: %s", name, value, problem)
		}
	}
	if o.project == "" && !mentioned(args, "project") {
		mistake("--project: required; give the ID of the cluster's project")
	}
	if o.account == "" && !mentioned(args, "service-account") {
		mistake("--service-account: required; give the e-mail address of the account that the workflow deploys as")
	}
	if len(o.roles) == 0 {
		o.roles = defaultRoles
	}
	return o, mistakes
}

func mentioned(args []string, flag string) bool {
	return slices.ContainsFunc(args, func(arg string) bool {
		name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		return name == flag && strings.HasPrefix(arg, "-")
	})
}

// set takes one flag's value, or says what is wrong with it.
func (o *order) set(name, value string) (problem string) {
	switch name {
	case "--project":
		if o.project != "" && o.project != value {
			return "the second project; run it once for each"
		}
		if !projectForm.MatchString(value) {
			return "not the ID of a project; it has 6 to 30 small letters, digits and dashes"
		}
		o.project = value
	case "--service-account":
		if o.account != "" && o.account != value {
			return "the second account; run it once for each"
		}
		if !accountForm.MatchString(value) {
			return "not the address of a service account; write NAME@PROJECT.iam.gserviceaccount.com"
		}
		o.account = value
	case "--role":
		if !roleForm.MatchString(value) {
			return "not the name of a role; write roles/SERVICE.ROLE, or projects/PROJECT/roles/ROLE"
		}
		if !slices.Contains(o.roles, value) {
			o.roles = append(o.roles, value)
		}
	}
	return ""
}
