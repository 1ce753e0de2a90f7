package runner

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCommand(t *testing.T) {
	t.Parallel()
	none := map[string]string{}
	for _, test := range []struct {
		line string
		want command
	}{
		{"::error::m", command{"error", none, "m"}},
		{"::ERROR::m", command{"error", none, "m"}},
		{"::error::a%0Ab%0D%25", command{"error", none, "a\nb\r%"}},
		{"::error::a%250A", command{"error", none, "a%0A"}},
		{"::error::a::b", command{"error", none, "a::b"}},
		{"::error::", command{"error", none, ""}},
		{"\t \u00a0::error::m", command{"error", none, "m"}},
		{"::error file=a%3Ab%2Cc,line=3,title=x=y::m", command{"error", map[string]string{"file": "a:b,c", "line": "3", "title": "x=y"}, "m"}},
		{"::error  File=f , line=3::m", command{"error", map[string]string{"file": "f ", " line": "3"}, "m"}},
		{"::error file=,=x,,line=3::m", command{"error", map[string]string{"line": "3"}, "m"}},
		{"##[error]m", command{"error", none, "m"}},
		{"text before ##[warning file=f;line=3]m%5D%3B", command{"warning", map[string]string{"file": "f", "line": "3"}, "m];"}},
		{"::unknown::##[error]m", command{"error", none, "m"}},
		{"::error ##[notice]m", command{"notice", none, "m"}},
		{"::set-env name=A::b", command{"set-env", map[string]string{"name": "A"}, "b"}},
	} {
		got, ok := newCommands().parse(test.line)
		if !ok {
			t.Errorf("%q: no command", test.line)
			continue
		}
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(command{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.line, diff)
		}
	}
	for _, line := range []string{
		"", "text", "x ::error::m", "::error", "::error:m", "::unknown::m", ":error::m", `\::error::m`, "#[error]m", "##[error", "##[unknown]##[error]m", `#\#[error]m`,
	} {
		if got, ok := newCommands().parse(line); ok {
			t.Errorf("%q: is the command %+v", line, got)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, raw string
		want      Result
	}{
		{"text", "a\n\n  b\n", Result{Log: "a\n\n  b\n"}},
		{"line breaks", "a\r\nb\rc\n", Result{Log: "a\nb\nc\n"}},
		{"group", "::group::G\na\n::endgroup::\nb\n", Result{Log: "▼ G\na\nb\n"}},
		{"debug", "::debug::d\na\n", Result{Log: "a\n"}},
		{
			"annotations", "::error file=f,line=2,title=T::m%0An\n::warning::w\n::notice::n\n",
			Result{Log: "Error: m\nn\nWarning: w\nNotice: n\n", Annotations: []Annotation{
				{Level: "error", Title: "T", Message: "m\nn", File: "f", Line: 2}, {Level: "warning", Message: "w"}, {Level: "notice", Message: "n"},
			}},
		},
		{
			"a mask hides from then on", "secret\n::add-mask::secret\nmy secret is secret\n::error::a secret\n",
			Result{Log: "secret\nmy *** is ***\nError: a ***\n", Masks: []string{"secret"}, Annotations: []Annotation{{Level: "error", Message: "a ***"}}},
		},
		{
			"a mask of several lines", "::add-mask::one%0A%0Atwo \none\ntwo, onetwo\n",
			Result{Log: "***\n***, ***\n", Masks: []string{"one\n\ntwo ", "one", "two"}},
		},
		{"masks that overlap", "::add-mask::abc\n::add-mask::bcd\n::add-mask::b\nxabcdx b\n", Result{Log: "x***x ***\n", Masks: []string{"abc", "bcd", "b"}}},
		{"mask of nothing", "::add-mask:: \na\n", Result{Log: "a\n", Warnings: []string{"add-mask without a value"}}},
		{
			"stopped", "::stop-commands::token\n::error::a\n##[token]\n::error::b\n",
			Result{Log: "::stop-commands::token\n::error::a\n##[token]\nError: b\n", Annotations: []Annotation{{Level: "error", Message: "b"}}},
		},
		{
			"stopped by a token that is a command", "::stop-commands::error\n::error::a\n",
			Result{Log: "Error: a\n", Warnings: []string{`stop-commands with the token "error"`}, Annotations: []Annotation{{Level: "error", Message: "a"}}},
		},
		{"commands that no step should give", "::set-output name=a::b\n##[add-path]/x\n", Result{Warnings: []string{"command set-output", "command add-path"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := Result{Raw: test.raw}
			parse(&got)
			test.want.Raw = test.raw
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLimitsOfAnnotations(t *testing.T) {
	t.Parallel()
	r := Result{Raw: strings.Repeat("::error::m\n", 11) + "::warning::" + strings.Repeat("x", maxMessage+1) + "\n"}
	parse(&r)
	want := []string{"more than 10 annotations of level error", "an annotation of 4097 bytes, which is cut"}
	if diff := cmp.Diff(want, r.Warnings); diff != "" || len(r.Annotations) != 11 {
		t.Errorf("%d annotations; warnings (-want +got):\n%s", len(r.Annotations), diff)
	}
}

func FuzzCommand(f *testing.F) {
	for _, line := range []string{"::error file=a,line=3::m%0A", "##[group]x", " ::stop-commands::x", "::a::##[error]"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if _, ok := newCommands().parse(line); ok && !strings.Contains(line, "::") && !strings.Contains(line, "##[") {
			t.Errorf("%q is a command", line)
		}
	})
}
