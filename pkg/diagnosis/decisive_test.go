package diagnosis

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// logs are what programs print before they end, shortened.
var logs = []struct{ name, log, want string }{
	{"Python: missing module", "INFO: loading\nTraceback (most recent call last):\n  File \"/app/serve.py\", line 3, in <module>\n    import keras\nModuleNotFoundError: No module named 'keras'", "ModuleNotFoundError: No module named 'keras'"},
	{"Python: chained", "Traceback (most recent call last):\nKeyError: 'MODEL'\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n    raise ValueError(\"MODEL: not set\")\nValueError: MODEL: not set", "ValueError: MODEL: not set"},
	{"Python: uvicorn goes on", "Traceback (most recent call last):\nFileNotFoundError: [Errno 2] No such file or directory: '/models/model.keras'\n\nERROR:    Application startup failed. Exiting.\nINFO: bye", "FileNotFoundError: [Errno 2] No such file or directory: '/models/model.keras'"},
	{"Python: pydantic", "Traceback (most recent call last):\npydantic_core._pydantic_core.ValidationError: 1 validation error for Settings\nmodel_path\n", "pydantic_core._pydantic_core.ValidationError: 1 validation error for Settings"},
	{"Python: pydantic, indented", "pydantic.error_wrappers.ValidationError: 1 validation error for Settings\n  model_path\n  Field required", "pydantic.error_wrappers.ValidationError: 1 validation error for Settings model_path Field required"},
	{"Python: without words", "Traceback (most recent call last):\nAssertionError", "AssertionError"},
	{"Python: gated model", "huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: Root=1)\nAccess to model google/gemma is restricted.", "huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: Root=1)"},
	{"PyTorch: GPU memory", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 14.58 GiB", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 14.58 GiB"},
	{"vLLM: the root cause is above", "(EngineCore_0 pid=94) ERROR 11-28 10:00:00 [core.py:700] ValueError: No available memory for the cache blocks.\n(APIServer pid=1) Traceback (most recent call last):\n(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}", "ValueError: No available memory for the cache blocks"},
	{"shared library", "/usr/bin/server: error while loading shared libraries: libcudart.so.12: cannot open shared object file: No such file or directory", "/usr/bin/server: error while loading shared libraries: libcudart.so.12: cannot open shared object file: No such file or directory"},
	{"shared library from Python", "Traceback (most recent call last):\nImportError: libGL.so.1: cannot open shared object file: No such file or directory", "ImportError: libGL.so.1: cannot open shared object file: No such file or directory"},
	{"Java", "Exception in thread \"main\" java.lang.IllegalStateException: cannot start\n\tat a.B.c(B.java:1)\nCaused by: java.net.ConnectException: Connection refused\n\tat a.B.d(B.java:2)\n\t... 3 more", "java.net.ConnectException: Connection refused"},
	{"Java: memory", "java.lang.OutOfMemoryError: Java heap space", "java.lang.OutOfMemoryError: Java heap space"},
	{"Java: jar", "Error: Unable to access jarfile app.jar", "Error: Unable to access jarfile app.jar"},
	{"Go: panic", "panic: runtime error: invalid memory address or nil pointer dereference\n[signal SIGSEGV]\n\ngoroutine 1 [running]:\nmain.main()\n\t/app/main.go:3 +0x1d\nexit status 2", "panic: runtime error: invalid memory address or nil pointer dereference"},
	{"Go: log.Fatal", "2026/11/28 10:00:00 listen tcp :80: bind: permission denied", "2026/11/28 10:00:00 listen tcp :80: bind: permission denied"},
	{"Node: module", "node:internal/modules/cjs/loader:1143\n  throw err;\n  ^\n\nError: Cannot find module '/app/server.js'\n    at Module._resolveFilename (node:internal/modules/cjs/loader:1140:15) {\n  code: 'MODULE_NOT_FOUND',\n}\n\nNode.js v22.1.0", "Error: Cannot find module '/app/server.js'"},
	{"Node: type", "TypeError: Cannot read properties of undefined (reading 'port')\n    at Object.<anonymous> (/app/a.js:1:1)", "TypeError: Cannot read properties of undefined (reading 'port')"},
	{"C++", "terminate called after throwing an instance of 'std::runtime_error'\n  what():  no model at /models\nAborted (core dumped)", "what(): no model at /models"},
	{"shell: permission", "/bin/sh: 1: ./run.sh: Permission denied", "/bin/sh: 1: ./run.sh: Permission denied"},
	{"shell: command", "bash: line 1: gunicorn: command not found", "bash: line 1: gunicorn: command not found"},
	{"port", "[Errno 98] error while attempting to bind on address ('0.0.0.0', 3000): address already in use", "[Errno 98] error while attempting to bind on address ('0.0.0.0', 3000): address already in use"},
	{"Triton", "I1128 10:00:00.000000 1 server.cc:1] Waiting\nE1128 10:00:01.000000 1 model_repository_manager.cc:9] failed to load 'iris' version 1: Invalid argument\nerror: creating server: Internal - failed to load all models", "error: creating server: Internal - failed to load all models"},
	{"JSON", `{"level":"info","msg":"starting"}` + "\n" + `{"level":"fatal","msg":"connect to the database","error":"dial tcp 10.0.0.1:5432: connection refused"}`, "ERROR: connect to the database: dial tcp 10.0.0.1:5432: connection refused"},
	{"logger", "2026-11-28 10:00:00,000 - app - CRITICAL - model file is broken\n2026-11-28 10:00:00,001 - app - INFO - bye", "CRITICAL - model file is broken"},
	{"a secret in it", "ValueError: cannot log in with password=hunter2", "ValueError: cannot log in with password=[redacted]"},

	{"nothing", "", ""},
	{"ordinary", "loading model\nloaded in 3 s\nno Error\n0 errors found, error rate 0\nhandled the exception: retrying", ""},
	{"the source of an exception", "    raise ValueError(\"x\")\n    at com.example.FooException.<init>(Foo.java:1)", ""},
}

func TestDecisive(t *testing.T) {
	t.Parallel()
	for _, tt := range logs {
		if got, _ := decisive(strings.Split(tt.log, "\n")); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// The log's line is in the sentence, with what to do about it.
func TestBecause(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	for _, tt := range logs {
		p := &affected{candidate: candidate{Finding: Finding{Severity: EachPod, Reason: "CrashLoopBackOff", Cause: `container "model" crashed with exit code 1`, Fix: "read its log for the reason"}}, lines: strings.Split(tt.log, "\n")}
		p.evaluateLog()
		fmt.Fprintf(&out, "%s\n  %s; %s\n", tt.name, p.Cause, p.Fix)
	}
	golden(t, "decisive.txt", out.String())
}

// A program that ends with exit code 0 did not fail, and what to do is known.
func TestBecauseOfItself(t *testing.T) {
	t.Parallel()
	const cause, fix = `container "model" ends by itself with exit code 0`, "keep the server in the foreground: the command must not return"
	for log, want := range map[string]string{
		"done": cause, "ERROR: nothing to do": cause, "ValueError: no model": cause + ": ValueError: no model",
	} {
		p := &affected{candidate: candidate{Finding: Finding{Severity: EachPod, Reason: "CrashLoopBackOff", Cause: cause, Fix: fix}}, lines: []string{log}}
		p.evaluateLog()
		if p.Cause != want || p.Fix != fix {
			t.Errorf("%q: %q; %q", log, p.Cause, p.Fix)
		}
	}
}

func FuzzDecisive(f *testing.F) {
	for _, tt := range logs {
		f.Add(tt.log)
	}
	f.Fuzz(func(t *testing.T, log string) {
		got, _ := decisive(strings.Split(log, "\n"))
		if utf8.RuneCountInString(got) > decisiveLimit || strings.ContainsAny(got, "\n\r\x1b") {
			t.Errorf("%q", got)
		}
	})
}
