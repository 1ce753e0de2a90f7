package casetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/org/deploy-model-action/e2e/internal/object"
)

// Expect is what one run has to come to. What it does not name may be anything.
type Expect struct {
	Exit    *int    `json:"exit"`
	Outcome string  `json:"outcome"`
	Log     []line  `json:"log"`    // each matches some line of the log
	NoLog   []line  `json:"no_log"` // each matches no line
	Objects []thing `json:"objects"`
	Within  int     `json:"within"` // seconds that the run may take
	Again   string  `json:"again"`  // outcome of the same run, repeated
}

// thing is an object of the cluster after the run.
type thing struct {
	// Kind is as kubectl takes it: Deployment, or Function.openfaas.com.
	Kind string `json:"kind"`
	// Name may hold a * for what a server made up; each object that fits counts.
	Name string `json:"name"`
	// Namespace is that of the case if it is empty.
	Namespace string      `json:"namespace"`
	That      []condition `json:"that"`   // each holds
	Not       []condition `json:"not"`    // none holds, as when a path leads to nothing
	Absent    bool        `json:"absent"` // there is no such object
}

func (t thing) String() string { return t.Kind + " " + t.Name }

// line is an expression for a line of the log.
type line struct{ *regexp.Regexp }

// UnmarshalJSON implements json.Unmarshaler.
func (l *line) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	var err error
	l.Regexp, err = regexp.Compile(text)
	return err
}

// condition is one on an object.
type condition struct{ object.Expression }

// UnmarshalJSON implements json.Unmarshaler.
func (c *condition) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	var err error
	if c.Expression, err = object.ParseExpression(text); err != nil {
		return fmt.Errorf("condition %.100q: %w", text, err)
	}
	return nil
}

// ParseExpect reads expect.yaml: one run's keys, or `runs`, a list of them.
func ParseExpect(text string) ([]Expect, error) {
	var file struct {
		Expect
		Runs []Expect `json:"runs"`
	}
	if err := strict(text, &file); err != nil {
		return nil, err
	}
	runs := file.Runs
	switch {
	case runs == nil:
		runs = []Expect{file.Expect}
	case !file.empty():
		return nil, errors.New("it has runs, and keys of a run beside them: put those into a run")
	}
	var errs []error
	for n, e := range runs {
		if err := e.valid(); err != nil {
			errs = append(errs, fmt.Errorf("run %d: %w", n+1, err))
		}
	}
	return runs, errors.Join(errs...)
}

// strict reads YAML that holds no other keys than v has.
func strict(text string, v any) error {
	err := yaml.UnmarshalStrict([]byte(text), v, yaml.DisallowUnknownFields)
	if err != nil {
		// What is left says it in words that everybody knows.
		return errors.New(strings.NewReplacer("error unmarshaling JSON: while decoding JSON: ", "", "error converting YAML to JSON: ", "", "json: ", "").Replace(err.Error()))
	}
	return nil
}

func (e Expect) empty() bool {
	return e.Exit == nil && e.Outcome == "" && e.Again == "" && e.Within == 0 && len(e.Log)+len(e.NoLog)+len(e.Objects) == 0
}

func (e Expect) valid() error {
	var errs []error
	if e.empty() {
		errs = append(errs, errors.New("nothing is expected of it"))
	}
	if e.Within < 0 {
		errs = append(errs, fmt.Errorf("within: %d is no number of seconds", e.Within))
	}
	for _, t := range e.Objects {
		switch {
		case t.Kind == "" || t.Name == "":
			errs = append(errs, errors.New("an object has no kind or no name"))
		case t.Absent && len(t.That)+len(t.Not) > 0:
			errs = append(errs, fmt.Errorf("%s: absent, and with conditions", t))
		}
	}
	for _, l := range append(append([]line{}, e.Log...), e.NoLog...) {
		if l.Regexp == nil || l.String() == "" {
			errs = append(errs, errors.New("an empty expression matches every line"))
		}
	}
	return errors.Join(errs...)
}

func (e Expect) within() time.Duration { return time.Duration(e.Within) * time.Second }
