package casetest

import (
	"fmt"
	"regexp"
	"strings"
)

// Inputs are one run's: a file inputs.txt.
type Inputs struct {
	// With are the step's inputs, Env what earlier steps left in its environment.
	With, Env map[string]string
	// When starts the run beside the one before it, as soon as a line of that one's
	// log matches. Nil: when that one has ended.
	When *regexp.Regexp
}

// when is how the first line of inputs-2.txt says it.
const when = "# when "

// identifier is the name of an input or a variable.
var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// ParseInputs reads lines `NAME=VALUE` and `env:NAME=VALUE`. An input that is there
// again has one more line. Empty lines and those that begin with # count for nothing.
func ParseInputs(text string) (Inputs, error) {
	in := Inputs{With: map[string]string{}, Env: map[string]string{}}
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if expression, ok := strings.CutPrefix(line, when); ok && n == 0 {
			var err error
			if in.When, err = regexp.Compile(expression); err != nil {
				return Inputs{}, fmt.Errorf("line 1: %w", err)
			}
			continue
		}
		if err := in.add(line); err != nil {
			return Inputs{}, fmt.Errorf("line %d: %w", n+1, err)
		}
	}
	return in, nil
}

// add takes one line in.
func (in *Inputs) add(line string) error {
	if line == "" || strings.HasPrefix(line, "#") {
		return nil
	}
	key, value, ok := strings.Cut(line, "=")
	key, env := strings.CutPrefix(strings.TrimSpace(key), "env:")
	value = strings.TrimSpace(value)
	if !ok || !identifier.MatchString(key) {
		return fmt.Errorf("%.100q is neither NAME=VALUE nor env:NAME=VALUE", line)
	}
	if env {
		if _, twice := in.Env[key]; twice {
			return fmt.Errorf("env:%s is there twice", key)
		}
		in.Env[key] = value
		return nil
	}
	if before, again := in.With[key]; again {
		value = before + "\n" + value
	}
	in.With[key] = value
	return nil
}

// where are the inputs that say where to deploy, and as whom. They are all that
// before.yaml is deployed with.
var where = []string{
	"cluster_name", "zone", "location", "project_id", "endpoint", "fleet_membership", "namespace", "release", "registry_host",
	"registry_username", "registry_password", "credentials_json", "workload_identity_provider", "service_account",
}

// place are those of the inputs that say where, and all of the environment.
func (in Inputs) place() Inputs {
	out := Inputs{With: map[string]string{}, Env: in.Env}
	for _, key := range where {
		if value, ok := in.With[key]; ok {
			out.With[key] = value
		}
	}
	return out
}
