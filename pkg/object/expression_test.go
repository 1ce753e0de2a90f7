package object

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestExpression(t *testing.T) {
	t.Parallel()
	const model = `{"status":{"phase":"Running","replicas":3,"score":0.9,"big":1000000,"empty":"","nothing":null,"ok":true,"generation":"4","note":"a == b",
		"conditions":[{"type":"Ready","status":"True"},{"type":"Loaded","status":"False"}],"parts":[{"ready":true},{"ready":true}],"mixed":[{"ready":true},{"ready":false}],"probabilities":[0.1,0.2,0.95]}}`
	var data map[string]any
	if err := json.Unmarshal([]byte(model), &data); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		text  string
		want  bool
		found string
	}{
		{`{.status.phase} == Running`, true, "Running"},
		{`{.status.phase}==Running`, true, "Running"},
		{`{.status.phase} == "Running"`, true, "Running"},
		{`.status.phase == Running`, true, "Running"},
		{`status.phase == Running`, true, "Running"},
		{`{status.phase} == 'Running'`, true, "Running"},
		{`{ .status.phase } == Running`, true, "Running"},
		{`{.status.phase} == running`, false, "Running"},
		{`{.status.phase} != Running`, false, "Running"},
		{`{.status.phase} != Failed`, true, "Running"},
		{`{.status.absent} != Failed`, false, ""},
		{`{.status.absent.deeper} == 1`, false, ""},
		{`{.status.phase}`, true, "Running"},
		{`{.status.absent}`, false, ""},
		{`{.status.nothing}`, false, ""},
		{`{.status.empty} == ""`, true, ""},
		{`{.status.replicas} == 3`, true, "3"},
		{`{.status.replicas} >= 3`, true, "3"},
		{`{.status.replicas} > 3`, false, "3"},
		{`{.status.replicas} < 3.5`, true, "3"},
		{`{.status.replicas} <= 2`, false, "3"},
		{`{.status.generation} >= 4`, true, "4"},
		{`{.status.big} == 1000000`, true, "1000000"},
		{`{.status.score} >= 0.9`, true, "0.9"},
		{`{.status.phase} >= 1`, false, "Running"},
		{`{.status.ok} == true`, true, "true"},
		{`{.status.note} == a == b`, true, "a == b"},
		{`{.status.conditions[?(@.type=="Ready")].status} == True`, true, "True"},
		{`{.status.conditions[?(@.type=="Loaded")].status} == True`, false, "False"},
		{`{.status.conditions[?(@.type=="Other")].status} == True`, false, ""},
		{`{.status.parts[*].ready} == true`, true, "true true"},
		{`{.status.mixed[*].ready} == true`, false, "true false"},
		{`{.status.conditions[?(@.type == "x[0] is y")].status} == True`, false, ""},
		{`{.status['note'] } == "a == b"`, true, "a == b"},
		{`{.status.probabilities[2]} >= 0.9`, true, "0.95"},
		{`{.status.probabilities[7]} >= 0.9`, false, ""},
	} {
		t.Run(tt.text, func(t *testing.T) {
			t.Parallel()
			e, err := ParseExpression(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if got, found := e.Holds(data); got != tt.want || found != tt.found {
				t.Errorf("%v, found %q; want %v, %q", got, found, tt.want, tt.found)
			}
		})
	}
}

func TestWrongExpression(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``:                            `begins with no path; write {.PATH} == VALUE, such as {.status.phase} == Running`,
		`{}`:                          `begins with no path; write {.PATH} == VALUE, such as {.status.phase} == Running`,
		`== Running`:                  `begins with no path; write {.PATH} == VALUE, such as {.status.phase} == Running`,
		`{.status.phase} = Running`:   `compares by =; write == for a comparison`,
		`{.status.phase} is up`:       `"is up" behind its path is no comparison; write one of ==, !=, >=, <=, > and <, and a value`,
		`{.status.phase} === up`:      `"=== up" behind its path is no comparison; write one of ==, !=, >=, <=, > and <, and a value`,
		`{.status.phase} ==`:          `compares with nothing; write the value behind ==, and "" for an empty one`,
		`{.status.replicas} >= all`:   `>= compares numbers, and "all" is none; write a number, or compare by == or !=`,
		`{.status.phase`:              `a brace or a quote of its path is not closed; close it, such as {.status.phase} == Running`,
		`{.status[} == 1`:             `a brace or a quote of its path is not closed; close it, such as {.status.phase} == Running`,
		`{.status.items[?(@.x} == 1`:  `a brace or a quote of its path is not closed; close it, such as {.status.phase} == Running`,
		`{.a[0:1:2:3]} == 1`:          `its path is no JSONPath: invalid array index 0:1:2:3; correct it, such as {.status.conditions[0].status}`,
		`{.status.name()} == x`:       `its path holds "name()", which JSONPath has within [ ] only; write one path, such as {.status.conditions[0].status}`,
		`{range .items} == x`:         `its path holds "range .", which JSONPath has within [ ] only; write one path, such as {.status.conditions[0].status}`,
		`jsonpath={.status.phase}=Up`: `begins with jsonpath=, which only kubectl wait takes; write {.status.phase} == Up`,
		`jsonpath='{.status.phase}'`:  `begins with jsonpath=, which only kubectl wait takes; write {.status.phase}`,
		`condition=Ready`:             `begins with condition=, which only kubectl wait takes; write {.status.conditions[?(@.type=="Ready")].status} == True`,
		`condition=Degraded=False`:    `begins with condition=, which only kubectl wait takes; write {.status.conditions[?(@.type=="Degraded")].status} == False`,
		`{..a..b} == 1`:               `its path holds more than one .. or comma; write one path to one value`,
		strings.Repeat("a", 2000):     `longer than 1024 bytes; write a shorter one`,
	} {
		if _, err := ParseExpression(text); err == nil || err.Error() != want {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

func FuzzExpression(f *testing.F) {
	f.Add(`{.status.phase} == Running`, `{"status":{"phase":"Running"}}`)
	f.Add(`{.a[?(@.b=="c")].d} >= 4`, `{"a":[{"b":"c","d":5}]}`)
	f.Add(`{range .a[*]}{end} != x`, `{"a":[1]}`)
	f.Add(`{end}`, `{"a":[1]}`)
	f.Add(`{.a[?(@)]}`, `{"a":[1,{"b":2}]}`)
	f.Add(`{.a[?(@.b>"x")]}`, `{"a":[1,{"b":2},{"b":null},{"b":{}}]}`)
	f.Add(`{.a[-5:0]}`, `{"a":[1]}`)
	f.Add(`{.a[-5]}`, `{"a":[1]}`)
	f.Add(`{.a['b','c']}`, `{"a":null}`)
	f.Add(`{..a}`, `{"a":[{"a":1}]}`)
	f.Add(`{.a[0:9:2]} < 4`, `{"a":[1]}`)
	f.Fuzz(func(t *testing.T, text, document string) {
		e, err := ParseExpression(text)
		if err != nil {
			return
		}
		var data any
		if json.Unmarshal([]byte(document), &data) != nil {
			return
		}
		began := time.Now()
		e.Holds(data)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%q took %s", text, took)
		}
	})
}
