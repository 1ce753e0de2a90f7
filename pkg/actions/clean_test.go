package actions

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// hostile are texts that pods, APIs and registries could send, each of which
// the runner would obey if it were printed as it is.
var hostile = []string{
	"::add-mask::e",
	"::set-output name=image::evil",
	"::SET-OUTPUT name=image::evil",
	"::stop-commands::everything",
	"::error file=a,line=1::forged",
	" \t::add-mask::e",
	"\u00a0::add-mask::e",
	"\u2003\u3000::add-mask::e",
	"\u1680\u202f\u205f::add-mask::e",
	"\ufeff::add-mask::e",
	"\u200b\u00ad\u2060\u180e::add-mask::e",
	"\x00::add-mask::e",
	"\x0b\x0c::add-mask::e",
	"\x1b[0m::add-mask::e",
	"\x1b[31;1m\x1b[K::add-mask::e",
	"\x1b::add-mask::e",
	"\u202e::add-mask::e",
	"\u2066::add-mask::e",
	"\xff\xfe::add-mask::e\r::add-mask::e",
	"ok\n::set-output name=x::y",
	"ok\r::set-output name=x::y",
	"ok\r\n::set-output name=x::y",
	"ok\n\n  ::set-output name=x::y",
	"ok\u0085::add-mask::e\n::add-mask::e",
	"ok\u2028::add-mask::e\u2029::add-mask::e\r::add-mask::e",
	"##[add-mask]e",
	"log says ##[add-mask]e",
	"log says ####[add-mask]e",
	"log says ##[##[add-mask]e",
	"##[set-output name=x;]y",
	"#\x00#[add-mask]e",
	"#\x1b[0m#[add-mask]e",
	"##\u202e[add-mask]e",
	"##\x1b[[add-mask]e",
	"#\u200b#[add-mask]e",
	":\x00:add-mask::e",
	":\x1b[1m:add-mask::e",
	"\u202a:\u202c:add-mask::e",
	strings.Repeat("x", 100_000) + "\r::add-mask::e" + strings.Repeat("y", 100_000),
	strings.Repeat(" ", 100_000) + "::add-mask::e",
	strings.Repeat(" ", maxLine-3) + "::add-mask::e",
	strings.Repeat("x", maxLine-len("…")-len("##[add-mask]")) + "##[add-mask]e" + strings.Repeat("y", 100),
}

func TestHostileTextIsNotObeyed(t *testing.T) {
	t.Parallel()
	if commands, _ := obey(strings.Join(hostile, "\n")); len(commands) < 30 {
		t.Fatalf("only %d of the texts are commands; the corpus proves little", len(commands))
	}
	for _, text := range hostile {
		for name, print := range map[string]func(w *Workflow){
			"alone":    func(w *Workflow) { w.Printf("%s", text) },
			"prefixed": func(w *Workflow) { w.Printf("  | %s", text) },
			"followed": func(w *Workflow) { w.Printf("%s: not ready", text) },
			"format":   func(w *Workflow) { w.Printf("%s", strings.ReplaceAll(text, "%", "%%")) },
		} {
			commands, shown := obey(printed(print))
			if len(commands) > 0 {
				t.Errorf("%s %.60q: the runner obeys %v", name, text, commands)
			}
			if strings.Join(shown, "") == "" {
				t.Errorf("%s %.60q: nothing of it is shown", name, text)
			}
		}
	}
}

// Where foreign text becomes part of a command, only that command is obeyed.
func TestHostileTextStaysInItsCommand(t *testing.T) {
	t.Parallel()
	for _, text := range hostile {
		for name, print := range map[string]func(w *Workflow){
			"group":   func(w *Workflow) { w.Group(text) },
			"warning": func(w *Workflow) { w.Warning(text) },
			"error":   func(w *Workflow) { w.Annotate(Annotation{Message: text, Title: text, File: text, Line: 1}) },
			"add-mask": func(w *Workflow) {
				w.Mask(strings.Map(func(r rune) rune { // one line, so one mask
					if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Cf, r) || r == utf8.RuneError {
						return -1
					}
					return r
				}, text))
			},
		} {
			commands, _ := obey(printed(print))
			if len(commands) != 1 || commands[0].Name != name {
				t.Errorf("%.60q in %s: the runner obeys %v", text, name, commands)
			}
		}
	}
}

func TestOrdinaryTextIsUnchanged(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"",
		"deployment.apps/celestial-bodies-classifier-deployment configured",
		"  | \tindented\twith tabs",
		`Traceback (most recent call last): File "serve.py", line 3, in <module>`,
		"std::vector<int> and a::b::c, at the start: a::b",
		"# heading ## second #[not a command]",
		"100 % of 3 %s %d %0A",
		"größer, 模型, 🚀, e\u0301, नमस्ते, עברית, العربية",
		"C:\\models\\new \\n",
		"GET /?a=1&b=<2>\"'`",
		strings.Repeat("x", maxLine),
		"two\nlines\n\nand a gap",
	} {
		if got := printed(func(w *Workflow) { w.Printf("%s", text) }); got != text+"\n" {
			t.Errorf("printed %.80q for %.80q", got, text)
		}
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"one line break at the end\n":  "one line break at the end\n",
		"::group::x":                   `\::group::x` + "\n",
		"  ::group::x":                 `  \::group::x` + "\n",
		"::":                           `\::` + "\n",
		"x ##[group]y":                 `x #\#[group]y` + "\n",
		"\x1b[1mbold\x1b[0m":           "bold\n",
		"cut\x1b[":                     "cut\n",
		"cut\x1b[1\nnext":              "cut\nnext\n",
		"progress 1 %\rprogress 2 %":   "progress 1 %\nprogress 2 %\n",
		"a\u202egnp.exe":               "agnp.exe\n",
		"a\x00b\x07c":                  "abc\n",
		"bad \xff\xc0\xba byte":        "bad \uFFFD\uFFFD\uFFFD byte\n",
		strings.Repeat("ü", maxLine/2): strings.Repeat("ü", maxLine/2) + "\n",
		strings.Repeat("ü", maxLine):   strings.Repeat("ü", maxLine/2-2) + "…\n",
	} {
		if diff := cmp.Diff(want, clean(text)); diff != "" {
			t.Errorf("clean(%.60q) (-want +got):\n%s", text, diff)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, text := range hostile {
		if len(text) < 1000 { // the long ones keep the fuzzer from trying much
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := clean(text)
		if commands, _ := obey(got); len(commands) > 0 {
			t.Errorf("clean(%q) = %q: the runner obeys %v", text, got, commands)
		}
		if again := clean(got); again != got && len(text) < maxLine/2 {
			t.Errorf("clean(%q) = %q, and cleaned again %q", text, got, again)
		}
		if !strings.HasSuffix(got, "\n") || !utf8.ValidString(got) {
			t.Errorf("clean(%q) = %q: no line of text", text, got)
		}
		for _, r := range got {
			if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
				t.Errorf("clean(%q) = %q: holds %U", text, got, r)
			}
		}
		if harmless(text) && got != strings.TrimSuffix(text, "\n")+"\n" {
			t.Errorf("clean(%q) = %q: ordinary text was changed", text, got)
		}
	})
}

// harmless tells, without the product's rules, that nothing about a text could
// mean anything to the runner or a terminal.
func harmless(text string) bool {
	for line := range strings.SplitSeq(text, "\n") {
		if len(line) > maxLine || strings.Contains(line, "##[") || strings.Contains(line, "::") {
			return false
		}
	}
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return r != '\n' && r != '\t' && !unicode.IsPrint(r)
	})
}
