package main

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/org/deploy-model-action"

// floor are the packages that leaves share: what two of them need lives here.
// Each may import only what its own line names.
var floor = map[string][]string{
	"fault":    {},
	"redact":   {},
	"inside":   {},
	"retry":    {},
	"object":   {},
	"stored":   {"object"},
	"workload": {"object"},
	"wire":     {"object", "redact"},
	"kube":     {"fault", "object", "redact", "retry", "stored", "wire", "workload"},
	"google":   {"redact", "retry"},
	"registry": {"google", "redact", "retry"},
}

// mayImport says for each package besides the floor which of its siblings it may
// import. A package that is not here may import none, and must be added.
var mayImport = map[string][]string{
	"main":        {"actions", "deploy", "grant", "release", "report"},
	"report":      {"actions", "deploy", "fault"},
	"grant":       {"credentials", "google", "redact", "retry"}, // the subcommand, which shares no other step with a deploy
	"deploy":      {"apply", "candidate", "cluster", "credentials", "diagnosis", "diff", "fault", "google", "image", "inside", "kube", "manifest", "object", "publish", "readiness", "redact", "registry", "release", "retry", "rollout", "serving", "workload"},
	"actions":     {},
	"credentials": {"fault", "google", "redact", "retry"},
	"cluster":     {"google", "redact", "retry", "wire"},
	"image":       {"fault", "google", "redact", "registry", "retry"},
	"publish":     {"fault", "google", "inside", "redact", "registry", "retry"},
	"manifest":    {"fault", "inside", "kustomize", "object", "redact"},
	"kustomize":   {"fault", "inside", "redact"},
	"apply":       {"fault", "kube", "object", "redact", "retry", "stored", "workload"},
	"candidate":   {"object", "workload"},
	"diff":        {"object", "redact"},
	"release":     {"fault", "kube", "object", "redact", "retry"},
	"readiness":   {"object", "redact", "workload"},
	"diagnosis":   {"fault", "kube", "object", "redact", "retry", "workload"},
	"rollout":     {"diagnosis", "fault", "kube", "object", "readiness", "redact", "retry", "workload"},
	"serving":     {"inside", "kube", "object", "redact", "retry", "workload"},
}

// testsMayImport says what tests of a package may import besides that.
var testsMayImport = map[string][]string{
	"apply": {"diff"}, // what a plan shows is what is then written
}

// source is one file of the product.
type source struct {
	name  string // relative to the root, with slashes
	pkg   string // "main", or the first folder below pkg
	test  bool
	lines int
	file  *ast.File
}

var fileSet = token.NewFileSet()

// sources parses every file of the product.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	add := func(name, pkg string) {
		content, err := os.ReadFile(filepath.FromSlash(name))
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(fileSet, name, content, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, source{
			name: name, pkg: pkg, test: strings.HasSuffix(name, "_test.go"),
			lines: bytes.Count(content, []byte("\n")), file: file,
		})
	}
	add("main.go", "main")
	err := fs.WalkDir(os.DirFS("."), "pkg", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".go" {
			return err
		}
		add(name, strings.Split(name, "/")[1])
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("only %d files were found", len(all))
	}
	return all
}

// product are the sources without the tests.
func product(t *testing.T) []source {
	t.Helper()
	return slices.DeleteFunc(sources(t), func(s source) bool { return s.test })
}

// at is a place as compilers write it.
func at(node ast.Node) string { return fileSet.Position(node.Pos()).String() }

func TestPackagesImportWhatTheyMay(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		may, known := mayImport[s.pkg]
		if below, ok := floor[s.pkg]; ok {
			may, known = below, true
		}
		if !known {
			t.Errorf("%s: package %s has no rule; add it to mayImport", s.name, s.pkg)
		}
		for _, i := range s.file.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			sibling, ok := strings.CutPrefix(name, module+"/pkg/")
			sibling, _, _ = strings.Cut(sibling, "/")
			allowed := slices.Contains(may, sibling) || s.test && slices.Contains(testsMayImport[s.pkg], sibling)
			if ok && sibling != s.pkg && !allowed {
				t.Errorf("%s: package %s imports its sibling %s; let them meet in deploy, through plain types, or put what both need on the floor", at(i), s.pkg, sibling)
			}
		}
	}
}

func TestNoPackageStartsPrograms(t *testing.T) {
	t.Parallel()
	for _, s := range product(t) {
		for _, i := range s.file.Imports {
			if slices.Contains([]string{`"os/exec"`, `"plugin"`, `"unsafe"`, `"C"`}, i.Path.Value) {
				t.Errorf("%s: %s is imported; the image holds no other program", at(i), i.Path.Value)
			}
		}
	}
}

// What a package takes from the process it must be given: the environment by a
// function, standard output by pkg/actions.
func TestPackagesTakeTheWorldAsParameters(t *testing.T) {
	t.Parallel()
	forbidden := map[string]string{
		"os.Stdout": "print through pkg/actions", "os.Stderr": "print through pkg/actions", "os.Stdin": "nothing comes from there",
		"fmt.Print": "print through pkg/actions", "fmt.Printf": "print through pkg/actions", "fmt.Println": "print through pkg/actions",
		"os.Getenv": "take getenv as a parameter", "os.LookupEnv": "take getenv as a parameter", "os.Environ": "take getenv as a parameter",
		"os.ExpandEnv": "take getenv as a parameter", "syscall.Getenv": "take getenv as a parameter",
		"slog.Info": "print through pkg/actions", "slog.Warn": "print through pkg/actions", "slog.Error": "print through pkg/actions",
		"slog.SetDefault": "pass a logger on", "slog.Default": "pass a logger on", "flag.CommandLine": "make a flag set", "flag.Parse": "make a flag set",
		"os.Setenv": "pass the value on", "os.Unsetenv": "pass the value on", "os.Clearenv": "pass the value on",
		"os.Exit": "return the error", "os.Chdir": "take the folder as a parameter", "os.Args": "take it as a parameter",
	}
	for _, s := range product(t) {
		if s.pkg == "main" {
			continue
		}
		for _, i := range s.file.Imports {
			if i.Path.Value == `"log"` && s.pkg != "actions" {
				t.Errorf("%s: %s is imported; it has state of its own", at(i), i.Path.Value)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok {
					if instead := forbidden[x.Name+"."+n.Sel.Name]; instead != "" {
						t.Errorf("%s: %s.%s is used; %s", at(n), x.Name, n.Sel.Name, instead)
					}
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "print" || f.Name == "println") {
					t.Errorf("%s: %s is used; print through pkg/actions", at(n), f.Name)
				}
			}
			return true
		})
	}
}

// Package variables are constants that the language cannot write: compiled
// expressions, errors, tables. Nothing is computed before main, nothing is kept.
func TestPackagesHaveNoState(t *testing.T) {
	t.Parallel()
	calls := []string{"regexp.MustCompile", "errors.New", "strings.NewReplacer", "sets.New"}
	variables := map[string]bool{} // "pkg.name"
	for _, s := range product(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: func init; let the caller call", at(f))
			}
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				v := spec.(*ast.ValueSpec)
				for i, name := range v.Names {
					variables[s.pkg+"."+name.Name] = true
					if i >= len(v.Values) || !isTable(v.Values[i], calls) && name.Name != "_" {
						t.Errorf("%s: variable %s is no table, expression or error; make it a field or a parameter", at(name), name.Name)
					}
				}
			}
		}
	}
	for _, s := range product(t) {
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			local := declared(f)
			for _, target := range assigned(f) {
				if variables[s.pkg+"."+target.Name] && !local[target.Name] {
					t.Errorf("%s: %s changes the package variable %s", at(target), f.Name.Name, target.Name)
				}
			}
		}
	}
}

// isTable tells whether a value is written out, or one of the calls.
func isTable(e ast.Expr, calls []string) bool {
	switch e := e.(type) {
	case *ast.CompositeLit, *ast.BasicLit:
		return true
	case *ast.CallExpr:
		fun := e.Fun
		if i, ok := fun.(*ast.IndexExpr); ok { // sets.New[string]
			fun = i.X
		}
		if f, ok := fun.(*ast.SelectorExpr); ok {
			x, ok := f.X.(*ast.Ident)
			return ok && slices.Contains(calls, x.Name+"."+f.Sel.Name)
		}
	case *ast.UnaryExpr:
		return isTable(e.X, calls)
	}
	return false
}

// declared are the names that a function declares itself.
func declared(f *ast.FuncDecl) map[string]bool {
	names := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			for _, name := range n.Names {
				names[name.Name] = true
			}
		case *ast.ValueSpec:
			for _, name := range n.Names {
				names[name.Name] = true
			}
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, e := range n.Lhs {
					names[e.(*ast.Ident).Name] = true
				}
			}
		case *ast.RangeStmt:
			if n.Tok == token.DEFINE {
				for _, e := range []ast.Expr{n.Key, n.Value} {
					if name, ok := e.(*ast.Ident); ok {
						names[name.Name] = true
					}
				}
			}
		}
		return true
	})
	return names
}

// assigned are the variables that a function assigns to, or to a part of.
func assigned(f *ast.FuncDecl) []*ast.Ident {
	var all []*ast.Ident
	add := func(e ast.Expr) {
		for {
			switch x := e.(type) {
			case *ast.IndexExpr:
				e = x.X
			case *ast.SelectorExpr:
				e = x.X
			case *ast.StarExpr:
				e = x.X
			case *ast.Ident:
				all = append(all, x)
				return
			default:
				return
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, e := range n.Lhs {
					add(e)
				}
			}
		case *ast.IncDecStmt:
			add(n.X)
		case *ast.CallExpr:
			if name, ok := n.Fun.(*ast.Ident); ok && (name.Name == "delete" || name.Name == "clear") {
				add(n.Args[0])
			}
		}
		return true
	})
	return all
}

func TestFilesAreOfReadableSize(t *testing.T) {
	t.Parallel()
	for _, s := range product(t) {
		most := 400
		if s.pkg == "main" {
			most = 60
		}
		if s.lines > most {
			t.Errorf("%s has %d lines; %d are the most", s.name, s.lines, most)
		}
	}
}

// A package with more files has a package inside it that wants out: a prefix of
// file names stands in for its name.
func TestPackagesHaveFewFiles(t *testing.T) {
	t.Parallel()
	const most = 16
	files := map[string]int{}
	for _, s := range product(t) {
		files[path.Dir(s.name)]++
	}
	for dir, n := range files {
		if n > most {
			t.Errorf("%s has %d files; %d are the most", dir, n, most)
		}
	}
}

func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	t.Parallel()
	comments := map[string][]string{}
	for _, s := range product(t) {
		dir := path.Dir(s.name)
		if comments[dir] == nil {
			comments[dir] = []string{}
		}
		if s.file.Doc != nil {
			comments[dir] = append(comments[dir], s.file.Doc.Text())
		}
	}
	for dir, all := range comments {
		if len(all) != 1 {
			t.Errorf("%s has %d package comments; one is wanted", dir, len(all))
			continue
		}
		lines := slices.DeleteFunc(strings.Split(all[0], "\n"), func(l string) bool { return l == "" })
		if n := len(lines); n < 3 || n > 10 {
			t.Errorf("%s: the package comment has %d lines; 3 to 10 are wanted: what it is for, and what it leaves to others", dir, n)
		}
	}
}

func TestExportedNamesAreDocumented(t *testing.T) {
	t.Parallel()
	// What these do is known from the interfaces that they are for.
	known := []string{"Error", "Unwrap"}
	for _, s := range product(t) {
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) && (d.Recv == nil || !slices.Contains(known, d.Name.Name)) {
					t.Errorf("%s: %s has no comment", at(d), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						if spec.Name.IsExported() && cmp.Or(spec.Doc, d.Doc) == nil {
							t.Errorf("%s: type %s has no comment", at(spec), spec.Name.Name)
						}
					case *ast.ValueSpec:
						for _, name := range spec.Names {
							if name.IsExported() && cmp.Or(spec.Doc, spec.Comment, d.Doc) == nil {
								t.Errorf("%s: %s has no comment", at(spec), name.Name)
							}
						}
					}
				}
			}
		}
	}
}

// exportedReceiver tells whether a function is one, or a method of a type, that others see.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	receiver := d.Recv.List[0].Type
	if star, ok := receiver.(*ast.StarExpr); ok {
		receiver = star.X
	}
	name, ok := receiver.(*ast.Ident)
	return !ok || name.IsExported()
}

// The binary is downloaded by every job: nothing that is large for little is in it.
func TestBinaryHoldsNoUnwantedPackage(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for name := range strings.FieldsSeq(string(out)) {
		for prefix, why := range map[string]string{
			"k8s.io/client-go/discovery":     "12 MB and a serial round trip for a table of names",
			"k8s.io/client-go/kubernetes":    "12 MB; use dynamic",
			"sigs.k8s.io/controller-runtime": "caches and watches that a single run has no use for",
			"helm.sh/":                       "another tool's idea of a release",
			"github.com/stretchr/testify":    "tests use the standard library and go-cmp",
			"net/http/httptest":              "only tests need it",
			"testing":                        "only tests need it",
			"github.com/google/go-cmp":       "only tests need it",
			"k8s.io/client-go/dynamic/fake":  "only tests need it",
			module + "/e2e":                  "only tests need it",
			"k8s.io/kubernetes":              "only tests need it",
			"github.com/docker/docker":       "its engine is spoken to by HTTP",
			"github.com/google/go-containerregistry/pkg/v1/daemon": "brings Docker's client",
		} {
			if name == prefix || strings.HasPrefix(name, strings.TrimSuffix(prefix, "/")+"/") {
				t.Errorf("the binary holds %s: %s", name, why)
			}
		}
	}
}

// A panic of a goroutine that nobody catches ends the process with the exit code of
// a wrong input.
func TestGoroutinesCatchPanics(t *testing.T) {
	t.Parallel()
	for _, s := range product(t) {
		if s.pkg == "fault" || strings.HasSuffix(path.Dir(s.name), "test") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			var started ast.Expr
			switch n := n.(type) {
			case *ast.GoStmt:
				started = n.Call.Fun
			case *ast.CallExpr:
				f, ok := n.Fun.(*ast.SelectorExpr)
				if ok && f.Sel.Name == "Go" && fmt.Sprint(f.X) != "fault" && len(n.Args) == 1 {
					started = n.Args[0]
				}
			}
			if started != nil && !catches(started) {
				t.Errorf("%s: a goroutine without `defer fault.Catch(ctx)`, last of what it defers", at(n))
			}
			return true
		})
	}
}

// catches reports whether a function that is written out defers fault.Catch.
func catches(e ast.Expr) bool {
	if c, ok := e.(*ast.CallExpr); ok {
		f, ok := c.Fun.(*ast.SelectorExpr)
		return ok && fmt.Sprint(f.X) == "fault" && f.Sel.Name == "Func"
	}
	f, ok := e.(*ast.FuncLit)
	return ok && slices.ContainsFunc(f.Body.List, func(s ast.Stmt) bool {
		d, ok := s.(*ast.DeferStmt)
		if !ok {
			return false
		}
		called, ok := d.Call.Fun.(*ast.SelectorExpr)
		return ok && fmt.Sprint(called.X) == "fault" && called.Sel.Name == "Catch"
	})
}

// Sentences of errors begin small, since they are joined, and never with what
// the reader knows: that it failed.
func TestErrorsReadAsSentences(t *testing.T) {
	t.Parallel()
	for _, s := range product(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			name := fmt.Sprint(call.Fun)
			if f, ok := call.Fun.(*ast.SelectorExpr); ok {
				name = fmt.Sprint(f.X) + "." + f.Sel.Name
			}
			text, ok := call.Args[0].(*ast.BasicLit)
			if !ok || name != "fmt.Errorf" && name != "errors.New" {
				return true
			}
			if message, err := strconv.Unquote(text.Value); err == nil && strings.Contains(message, "failed to") {
				t.Errorf("%s: %q; say what was tried, and why it did not work", at(text), message)
			}
			return true
		})
	}
}
