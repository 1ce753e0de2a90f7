package actions

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// inputs has a field of each kind that Bind knows.
type inputs struct {
	Text    string        `input:"text"`
	Flag    bool          `input:"flag"`
	Time    time.Duration `input:"time"`
	List    []string      `input:"list"`
	Tags    []string      `input:"tags,none"`
	Secret  string        `input:"secret,secret"`
	Hidden  time.Duration `input:"hidden,secret"`
	Ignored string
	Other   error
}

// bind binds to inputs that have defaults.
func bind(values map[string]string) (inputs, error) {
	in := inputs{Text: "default", Flag: true, Time: time.Minute, List: []string{"default"}, Tags: []string{"default"}}
	err := New(func(name string) string { return values[name] }, new(strings.Builder)).Bind(&in)
	return in, err
}

func TestBind(t *testing.T) {
	t.Parallel()
	defaults := inputs{Text: "default", Flag: true, Time: time.Minute, List: []string{"default"}, Tags: []string{"default"}}
	for name, c := range map[string]struct {
		values map[string]string
		want   inputs
		err    string
	}{
		"nothing":    {nil, defaults, ""},
		"only space": {map[string]string{"INPUT_TEXT": " \n ", "INPUT_TIME": "", "INPUT_LIST": "\n\n"}, defaults, ""},
		"none of what is given empty": {
			map[string]string{"GITHUB_ACTIONS": "true", "INPUT_TAGS": "", "INPUT_LIST": ""},
			inputs{Text: "default", Flag: true, Time: time.Minute, List: []string{"default"}},
			"",
		},
		"trimmed": {
			map[string]string{"INPUT_TEXT": " a b\n", "INPUT_FLAG": " false ", "INPUT_TIME": "90s\n", "INPUT_LIST": "a\n\n  b c \r\nd", "INPUT_SECRET": "\n{}\n"},
			inputs{Text: "a b", Time: 90 * time.Second, List: []string{"a", "b c", "d"}, Tags: []string{"default"}, Secret: "{}"},
			"",
		},
		"no boolean":  {map[string]string{"INPUT_FLAG": "True"}, defaults, `input flag "True": not a boolean; use true or false`},
		"no duration": {map[string]string{"INPUT_TIME": "10"}, defaults, `input time "10": not a duration; use a number with a unit, e.g. 90s or 10m`},
		"negative":    {map[string]string{"INPUT_TIME": "-1s"}, defaults, `input time "-1s": not a duration; use a number with a unit, e.g. 90s or 10m`},
		"zero":        {map[string]string{"INPUT_TIME": "0s"}, defaults, `input time "0s": not a duration; use a number with a unit, e.g. 90s or 10m`},
		"secret":      {map[string]string{"INPUT_HIDDEN": "hunter2"}, defaults, `input hidden: not a duration; use a number with a unit, e.g. 90s or 10m`},
		"two mistakes, and one that is right": {
			map[string]string{"INPUT_FLAG": "yes", "INPUT_TIME": "soon", "INPUT_TEXT": "a"},
			inputs{Text: "a", Flag: true, Time: time.Minute, List: []string{"default"}, Tags: []string{"default"}},
			"input flag \"yes\": not a boolean; use true or false\ninput time \"soon\": not a duration; use a number with a unit, e.g. 90s or 10m",
		},
	} {
		got, err := bind(c.values)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		message := ""
		if err != nil {
			message = err.Error()
		}
		if diff := cmp.Diff(c.err, message); diff != "" {
			t.Errorf("%s: error (-want +got):\n%s", name, diff)
		}
	}
}

func TestBindErrorsAreTyped(t *testing.T) {
	t.Parallel()
	_, err := bind(map[string]string{"INPUT_TIME": "soon"})
	var e *InputError
	if !errors.As(err, &e) || e.Name != "time" || e.Value != "soon" {
		t.Errorf("%#v", err)
	}
}

func FuzzBind(f *testing.F) {
	f.Add("text", "true", "90s", "a\nb", "s", "1m")
	f.Add("\x00\xff", "TRUE", "1e9h", "\r\n\r", "\n::add-mask::e", "-")
	f.Fuzz(func(t *testing.T, text, flag, duration, list, secret, hidden string) {
		values := map[string]string{
			"INPUT_TEXT": text, "INPUT_FLAG": flag, "INPUT_TIME": duration,
			"INPUT_LIST": list, "INPUT_SECRET": secret, "INPUT_HIDDEN": "hunter2" + hidden,
		}
		in, err := bind(values)
		if err == nil {
			t.Fatalf("%q is taken for a duration", values["INPUT_HIDDEN"])
		}
		for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
			var wrong *InputError
			if !errors.As(e, &wrong) || strings.ContainsAny(e.Error(), "\n\r\x00") || strings.Contains(e.Error(), "hunter2") {
				t.Errorf("error %q", e)
			}
		}
		if in.Text == "" || in.Text != strings.TrimSpace(in.Text) || in.Time <= 0 || len(in.List) == 0 {
			t.Errorf("inputs %+v", in)
		}
		for _, item := range in.List {
			if item == "" || item != strings.TrimSpace(item) {
				t.Errorf("item %q of list %q", item, list)
			}
		}
		if commands, _ := obey(printed(func(w *Workflow) { w.Printf("%v", err) })); len(commands) > 0 {
			t.Errorf("the runner obeys %v", commands)
		}
	})
}
