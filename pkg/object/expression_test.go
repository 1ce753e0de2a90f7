package object

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	utiljson "k8s.io/apimachinery/pkg/util/json"
)

const answer = `{
	"prediction": "Earth", "empty": "", "none": null, "ok": true, "text": "0.95", "count": 3, "large": 9007199254740993,
	"probabilities": [0.01, 0.04, 0.95], "whole": 3.0, "a": {"b-c": {"d": "x y"}}, "list": [], "dotted.key": 1,
	"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}], "many": [{"x": 1}, {"x": 2}]
}`

func TestExpression(t *testing.T) {
	t.Parallel()
	var document any
	if err := utiljson.Unmarshal([]byte(answer), &document); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		text  string
		holds bool
		got   string
		err   string
	}{
		{"{.prediction} == Earth", true, "Earth", ""},
		{"{.prediction}==Earth", true, "Earth", ""},
		{` {.prediction} == "Earth" `, true, "Earth", ""},
		{"{.prediction} == 'Earth'", true, "Earth", ""},
		{"{.prediction} == Mars", false, "Earth", ""},
		{"{.prediction} != Mars", true, "Earth", ""},
		{"{.prediction} != Earth", false, "Earth", ""},
		{"{.prediction} == earth", false, "Earth", ""},
		{"{.prediction} >= 3", false, "Earth", ""},
		{"{.probabilities[2]} >= 0.9", true, "0.95", ""},
		{"{.probabilities[2]} >= 0.95", true, "0.95", ""},
		{"{.probabilities[2]} > 0.95", false, "0.95", ""},
		{"{.probabilities[2]} <= 0.95", true, "0.95", ""},
		{"{.probabilities[2]} < 0.95", false, "0.95", ""},
		{"{.probabilities[0]} < 1e-1", true, "0.01", ""},
		{"{.probabilities[-1]} == 0.95", true, "0.95", ""},
		{"{.text} >= 0.9", true, "0.95", ""},
		{"{.text} == 0.950", false, "0.95", ""}, // a text is compared as one
		{"{.count} == 3", true, "3", ""},
		{"{.count} == 3.0", true, "3", ""},
		{"{.whole} == 3", true, "3", ""},
		{"{.large} == 9007199254740993", true, "9007199254740993", ""},
		{"{.large} == 9007199254740992", false, "9007199254740993", ""},
		{"{.ok} == true", true, "true", ""},
		{"{.ok} == True", true, "true", ""},
		{"{.ok} != true", false, "true", ""},
		{"{.none} == null", true, "null", ""},
		{`{.empty} == ""`, true, "", ""},
		{"{.a.b-c.d} == x y", true, "x y", ""},
		{"{.a['b-c'].d} == x y", true, "x y", ""},
		{`{.dotted\.key} == 1`, true, "1", ""},
		{`{.conditions[?(@.type=="Ready")].status} == True`, true, "True", ""},
		{`{.conditions[?(@.type=="}")].status} == True`, false, "nothing", ""},
		{`{.conditions[?(@.type=="a, .. b")].status} == True`, false, "nothing", ""},
		{"{$.count} > 2", true, "3", ""},
		{"{.prediction}", true, "something", ""},
		{"{.missing}", false, "nothing", ""},
		{"{.missing.deeper} == x", false, "nothing", ""},
		{"{.missing} != x", false, "nothing", ""},
		{"{.a} == x", false, "", "{.a} == x: the path leads to a map: write the way to one of its values"},
		{"{.list} == x", false, "", "{.list} == x: the path leads to a list: write the way to one of its values, e.g. with [0]"},
		{"{.many[*].x} == 1", false, "", "{.many[*].x} == 1: the path leads to 2 values: write the way to one"},
		{"{.many[5].x} == 1", false, "", "{.many[5].x} == 1: array index out of bounds: index 5, length 2"},
		{"{.count[0]} == 1", false, "", "{.count[0]} == 1: int64 is not array or slice"},
	}
	for _, tt := range tests {
		e, err := ParseExpression(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		holds, got, err := e.Evaluate(document)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if holds != tt.holds || got != tt.got || text != tt.err {
			t.Errorf("%s: %v, got %q, error %q; want %v, %q, %q", tt.text, holds, got, text, tt.holds, tt.got, tt.err)
		}
		if e.String() != strings.TrimSpace(tt.text) {
			t.Errorf("%q is shown as %q", tt.text, e)
		}
	}
	if holds, _, err := (Expression{}).Evaluate(document); holds || err == nil {
		t.Error("the zero value holds")
	}
}

func TestExpressionMistakes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                   "no path in braces: write it as {.status.phase} == Running",
		".status.phase == x": "no path in braces: write it as {.status.phase} == Running",
		"{.a":                `the path does not end: close it with "}"`,
		`{.a["}`:             `the path does not end: close it with "}"`,
		"{} == 1":            `"{}" is not a path: begin it with a dot, e.g. {.status.phase}`,
		"{range .a} == 1":    `"{range .a}" is not a path: begin it with a dot, e.g. {.status.phase}`,
		"{.a[} == 1":         `"{.a[}" is not a JSONPath (unterminated array): correct it, e.g. {.status.phase}`,
		"{..a} == 1":         `the path selects several values: write out the way to one, without ".." and ","`,
		"{.a[0,0][0,0]} > 1": `the path selects several values: write out the way to one, without ".." and ","`,
		`{.a"..b"} > 1`:      `the path selects several values: write out the way to one, without ".." and ","`,
		"{['a..b']} > 1":     `the path selects several values: write out the way to one, without ".." and ","`,
		`{.a"}{range .b"}`:   "\"{.a\\\"}{range .b\\\"}\" is more than one path: correct its quotes and braces",
		"{.a range} == 1":    `the word "range" in the path: write a field with a dot before it, and a text in quotes`,
		"{.a[?(@.b==c)].d}":  `the word "c" in the path: write a field with a dot before it, and a text in quotes`,
		"{.a} = 1":           `after the path stands "= 1": compare with one of ==, !=, >=, <=, > and <`,
		"{.a} is 1":          `after the path stands "is 1": compare with one of ==, !=, >=, <=, > and <`,
		"{.a} === 1":         `"===" is no comparison: use one of ==, !=, >=, <=, > and <`,
		"{.a} ==":            `nothing stands after "==": write what to compare with, "" for an empty text`,
		"{.a} >= high":       `"high" is not a number, which >= compares: write one, or compare with == or !=`,
		"{.a} > NaN":         `"NaN" is not a number, which > compares: write one, or compare with == or !=`,
		`{.a} > "1"`:         `"\"1\"" is not a number, which > compares: write one, or compare with == or !=`,
		"{." + strings.Repeat("a", 1000) + "} == 1": "longer than 1000 bytes: write a shorter path",
	} {
		if _, err := ParseExpression(text); fmt.Sprint(err) != want {
			t.Errorf("%s: %v\nwant %s", text, err, want)
		}
	}
}

// FuzzExpression holds that no text and no document stops the program.
func FuzzExpression(f *testing.F) {
	for _, text := range []string{
		"{.a} == 1", "{.a[0]['b']} >= 0.9", `{.a[?(@.b=="c")].d} != x`, "{.a[1:3:2]}", "{[*]} < 3", "{@} == 1", `{.a\.b} == "}"`, "{$} > 1e999", "{.a[-9:]}", "{.a[?(@<1)]}",
	} {
		f.Add(text, answer)
		f.Add(text, `[[1,2,3],{"a":[]}]`)
	}
	f.Fuzz(func(t *testing.T, text, document string) {
		e, err := ParseExpression(text)
		if err != nil {
			return
		}
		var decoded any
		if json.Unmarshal([]byte(document), &decoded) != nil {
			return
		}
		holds, got, err := e.Evaluate(decoded)
		if err != nil && (holds || got != "") {
			t.Errorf("%s: %v, got %q with the error %v", text, holds, got, err)
		}
	})
}
