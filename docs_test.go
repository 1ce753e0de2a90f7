package main

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/org/deploy-model-action/pkg/deploy"
)

// metadata is what the tests read of action.yml.
type metadata struct {
	Inputs map[string]struct {
		Description string `json:"description"`
		Default     string `json:"default"`
		Required    bool   `json:"required"`
	} `json:"inputs"`
	Outputs map[string]struct {
		Description string `json:"description"`
	} `json:"outputs"`
}

func readMetadata(t *testing.T) metadata {
	t.Helper()
	content, err := os.ReadFile("action.yml")
	if err != nil {
		t.Fatal(err)
	}
	var m metadata
	if err := yaml.UnmarshalStrict(content, &struct {
		*metadata
		Name, Description, Author string
		Branding, Runs            map[string]any
	}{metadata: &m}); err != nil {
		t.Fatal(err)
	}
	return m
}

// tables returns the rows of README's tables, by the first cell's name.
func tables(t *testing.T) map[string][]string {
	t.Helper()
	content, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (.*) \\|$").FindAllStringSubmatch(string(content), -1) {
		rows[m[1]] = strings.Split(m[2], " | ")
	}
	return rows
}

func TestReadmeSaysWhatActionSays(t *testing.T) {
	t.Parallel()
	m, have := readMetadata(t), tables(t)
	want := map[string][]string{}
	for name, in := range m.Inputs {
		value := ""
		switch {
		case in.Required:
			value = "required"
		case in.Default != "":
			value = "`" + in.Default + "`"
		}
		want[name] = []string{value, in.Description}
	}
	for name, out := range m.Outputs {
		want[name] = []string{out.Description}
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("README.md's tables differ from action.yml (-action.yml +README.md):\n%s", diff)
	}
}

func TestEveryInputIsRead(t *testing.T) {
	t.Parallel()
	m := readMetadata(t)
	defaults := reflect.ValueOf(deploy.Defaults())
	var read []string
	for i := range defaults.NumField() {
		name, _, _ := strings.Cut(defaults.Type().Field(i).Tag.Get("input"), ",")
		if name == "" {
			continue
		}
		read = append(read, name)
		declared := m.Inputs[name].Default
		if strings.HasPrefix(declared, "${{") {
			declared = "" // only the runner knows it
		}
		if have := written(defaults.Field(i).Interface()); have != declared {
			t.Errorf("input %s: default %q in action.yml, %q in deploy.Defaults", name, declared, have)
		}
	}
	var declared []string
	for name := range m.Inputs {
		declared = append(declared, name)
	}
	slices.Sort(read)
	slices.Sort(declared)
	if diff := cmp.Diff(declared, read); diff != "" {
		t.Errorf("inputs (-action.yml +deploy.Options):\n%s", diff)
	}
}

// written is a default as action.yml writes it.
func written(value any) string {
	switch v := value.(type) {
	case []string:
		return strings.Join(v, "\n")
	case time.Duration:
		s := v.String()
		s = strings.TrimSuffix(s, "0s")
		return s
	default:
		return fmt.Sprint(v)
	}
}
