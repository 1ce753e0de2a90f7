package diagnosis

import (
	"encoding/json"
	"regexp"
	"strings"

	"github.com/org/deploy-model-action/pkg/redact"
)

// decisiveLimit is how long the line of a log may be within a sentence, in runes.
const decisiveLimit = 200

// decisiveRules find the line of a log that says why a program ended; those that
// prove it come first, and of each the last line counts.
var decisiveRules = []*regexp.Regexp{
	// Python's, Java's and Node's exceptions, also behind a logger's prefix.
	regexp.MustCompile(`(?:^|[\s\]):])((?:[\w$]+\.)*[A-Z][\w$]*(?:Error|Exception|Interrupt|Exit|NotFound): \S.*)$`),
	regexp.MustCompile(`^((?:[\w$]+\.)*[A-Z][\w$]*(?:Error|Exception|Interrupt))$`),
	regexp.MustCompile(`(?:^|\s)(Error: \S.*)$`),
	// Go's, the linker's, the shell's and the C++ runtime's.
	regexp.MustCompile(`^(panic: .+|fatal error: .+)$`),
	regexp.MustCompile(`(\S+: error while loading shared libraries: .+|\S+: cannot open shared object file.*)$`),
	regexp.MustCompile(`^\s*(what\(\):\s+.+|terminate called after throwing an instance of .+)$`),
	regexp.MustCompile(`(?i)(\S.*(?:out of memory|cuda error|no space left on device|address already in use|no kernel image is available|illegal instruction|segmentation fault).*)$`),
	regexp.MustCompile(`(?i)(\S.*(?:permission denied|command not found|executable file not found|no such file or directory|exec format error|unable to access jarfile|connection refused|no such host).*)$`),
	// What a logger calls an error.
	regexp.MustCompile(`(?:^|[\s\[|<"=])((?:FATAL|CRITICAL|PANIC|Fatal|Critical|fatal|critical)\b.*)$`),
	regexp.MustCompile(`(?:^|[\s\[|<"=])((?:ERROR|E\d{4})\b.*|[Ee]rror(?:\]|:).*)$`),
}

var (
	// elsewhere is an exception that says only that another one was before it.
	elsewhere = regexp.MustCompile(`(?i)see (?:the )?(?:root cause|stack trace|error|traceback|log)s? (?:above|below)|initialization failed|startup failed|worker (?:failed|exited)`)
	// unfinished is a line whose meaning follows, indented: pydantic's.
	unfinished = regexp.MustCompile(`(?:validation errors? for \S+|:)$`)
)

// decisive is the line of a log that says why a program ended, harmless within a
// sentence; "" if none does. reason says that it is known to be one, and not just
// what a logger calls an error.
func decisive(lines []string) (said string, reason bool) {
	texts := make([]string, len(lines))
	for i, l := range lines {
		texts[i] = strings.TrimRight(message(l), " \t\r")
	}
	second, sure := "", false
	for n, rule := range decisiveRules {
		for i := len(texts) - 1; i >= 0; i-- {
			m := rule.FindStringSubmatch(texts[i])
			if m == nil {
				continue
			}
			found := strings.TrimRight(redact.Line(m[1]+continued(m[1], texts[i+1:]), decisiveLimit), ".")
			if !elsewhere.MatchString(found) {
				return found, n < len(decisiveRules)-2
			}
			if second == "" {
				second, sure = found, n < len(decisiveRules)-2
			}
		}
	}
	return second, sure
}

// continued are the lines that belong to one that is unfinished.
func continued(said string, after []string) string {
	if !unfinished.MatchString(said) {
		return ""
	}
	var more strings.Builder
	for _, next := range after[:min(len(after), 3)] {
		if !strings.HasPrefix(next, " ") {
			break
		}
		more.WriteString(" " + strings.TrimSpace(next))
	}
	return more.String()
}

// message is what a line of a structured log says; others as they are.
func message(text string) string {
	if !strings.HasPrefix(text, "{") {
		return text
	}
	var fields map[string]any
	if json.Unmarshal([]byte(text), &fields) != nil {
		return text
	}
	field := func(names ...string) string {
		for _, name := range names {
			if s, ok := fields[name].(string); ok && s != "" {
				return s
			}
		}
		return ""
	}
	said, cause := field("message", "msg", "event"), field("error", "err", "exception", "exc_info")
	if cause != "" && said != "" {
		said += ": "
	}
	switch said += cause; strings.ToLower(field("level", "severity", "levelname", "lvl")) {
	case "error", "fatal", "critical", "panic", "emergency", "alert":
		return "ERROR: " + said
	}
	if said == "" {
		return text
	}
	return said
}

// remedies are what to do about a decisive line, the first that fits.
var remedies = []struct {
	find *regexp.Regexp
	fix  string
}{
	{regexp.MustCompile(`shared librar|shared object file`), "install that library in the image, or use a base image that has it (for CUDA, NVIDIA's or the framework's)"},
	{regexp.MustCompile(`ModuleNotFoundError|No module named|ImportError|Cannot find module|ERR_MODULE_NOT_FOUND|ClassNotFoundException|NoClassDefFoundError`), "add what is missing to what the image installs (requirements.txt, bentofile.yaml, package.json), and build it again"},
	{regexp.MustCompile(`(?i)no kernel image|CUDA driver version|forward compatibility`), "use an image whose CUDA version goes with the driver and the GPU of the nodes"},
	{regexp.MustCompile(`(?i)cuda.*out of memory|out of memory.*(?:cuda|gpu)|CUBLAS_STATUS_ALLOC_FAILED`), "use a GPU with more memory or several, a smaller or quantised model, or a smaller batch or context"},
	{regexp.MustCompile(`(?i)OutOfMemoryError|out of memory|MemoryError|heap`), "raise resources.limits.memory and what the runtime may take of it, or load a smaller model"},
	{regexp.MustCompile(`(?i)gated|401 Client Error|403 Client Error|unauthorized|authentication`), "give the pod credentials that may do this, from a Secret"},
	{regexp.MustCompile(`(?i)permission denied`), "let the user that the container runs as have that file or port: look at USER in the image, securityContext and the volumes"},
	{regexp.MustCompile(`(?i)no space left`), "raise the ephemeral-storage that the pod requests, or give it a volume for what it writes"},
	{regexp.MustCompile(`(?i)address already in use`), "let each program of the pod have a port of its own"},
	{regexp.MustCompile(`(?i)no such file|FileNotFoundError|unable to access jarfile`), "put the file into the image or a volume, or correct its path"},
	{regexp.MustCompile(`(?i)connection refused|no such host|name resolution|could not connect|getaddrinfo|\bENOTFOUND|ECONNREFUSED`), "look whether what it connects to is there, and whether its address is right"},
	{regexp.MustCompile(`(?i)command not found|executable file not found`), "correct command in the manifest, or put the program into the image"},
	{regexp.MustCompile(`KeyError|validation error|environment variable`), "set what it asks for in env, or correct its configuration"},
}

// remedy is what to do about a decisive line.
func remedy(said string) string {
	for _, r := range remedies {
		if r.find.MatchString(said) {
			return r.fix
		}
	}
	return "correct the program or its configuration; the lines before that one are in its log"
}

// because puts what the log says into the finding.
func (p *affected) because() {
	said, reason := decisive(p.lines)
	byItself := strings.Contains(p.Cause, "by itself with exit code 0") // what to do is known
	switch {
	case byItself && !reason:
		return
	case p.Reason == "CrashLoopBackOff" || p.Reason == "NotSteady":
	case p.Reason == "NotReady" && reason:
	default:
		return
	}
	if said == "" {
		last := lastLine(p.lines)
		if last == "" || p.Reason == "NotReady" {
			return
		}
		p.Cause += `; its log ends with "` + redact.Line(last, decisiveLimit) + `"`
		p.Fix = "look at the lines before that one in its log"
		return
	}
	if !strings.Contains(p.Cause, said) {
		p.Cause += ": " + said
	}
	if p.Reason != "NotReady" && !byItself {
		p.Fix = remedy(said)
	}
}

// lastLine is the last one that is not empty.
func lastLine(lines []string) string {
	for i := len(lines) - 1; i >= 0; i-- {
		if s := strings.TrimSpace(lines[i]); s != "" {
			return s
		}
	}
	return ""
}
