package node

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// behaviour is how the program in an image acts. An image says it in its
// labels, model.start-after for example; a container's environment variable of
// the same word, MODEL_START_AFTER, has the last word, and is the only one that
// counts on a real node (see command model).
//
//	start-after       how long it takes until the program listens
//	ready-after       how long it answers 503, from then on
//	port              port it listens on; default 3000, or what the manifest declares
//	status            status of every answer; default 200
//	unhealthy-path    path that is answered with unhealthy-status
//	unhealthy-status  default 500
//	body              of every answer; default "served by IMAGE (pod NAME)"
//	log               lines it prints when it starts
//	exit-code         it ends with this code ...
//	exit-after        ... so long after it listens; default at once
//	out-of-memory     "true": it takes memory until it is killed
//
// Of the simulated node only, since on a real one they are facts of the image,
// the registry or the program:
//
//	commands          executables that the image has, separated by commas; by
//	                  default all but those under /nonexistent
//	foreign           "true": the program is for another processor, though the
//	                  image says that it is for this one
//	entrypoint        "none": the image names no command
//	user              user of the image; "root" or "0" matters to runAsNonRoot
//	exec-exit-code    of every exec probe; default 0
//	stop-after        how long it takes to end after SIGTERM
//	pull              "denied", "unauthorized", "missing" or "unavailable": what the
//	                  registry answers the nodes, though others can pull
//	pull-after        how long a pull takes
type behaviour struct {
	startAfter, readyAfter  time.Duration
	port                    int
	status, unhealthyStatus int
	unhealthyPath, body     string
	log                     []string
	exits                   bool
	exitCode                int32
	exitAfter, stopAfter    time.Duration
	outOfMemory             bool
	execExitCode            int
	mistake                 string // what a real model would complain about, and end
	wrongPlatform           bool
	commands                []string
	user                    string
	framework               framework
}

// defaultPort is where a model listens that is not told otherwise.
const defaultPort = 3000

// word returns the value of one word of the vocabulary.
type word func(name string) string

// words joins an image's labels and a container's environment.
func words(labels, env map[string]string) word {
	return func(name string) string {
		if v, ok := env["MODEL_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))]; ok {
			return v
		}
		return labels["model."+name]
	}
}

func newBehaviour(say word, spec *corev1.Container) behaviour {
	b := behaviour{unhealthyPath: say("unhealthy-path"), body: say("body"), outOfMemory: say("out-of-memory") == "true", user: say("user")}
	b.framework = newFramework(say)
	duration := func(name string) time.Duration {
		v := say(name)
		if v == "" {
			return 0
		}
		d, err := time.ParseDuration(v)
		if err != nil && b.mistake == "" {
			b.mistake = fmt.Sprintf("%s %v", name, err)
		}
		return d
	}
	number := func(name string, otherwise int) int {
		v := say(name)
		if v == "" {
			return otherwise
		}
		n, err := strconv.Atoi(v)
		if err != nil && b.mistake == "" {
			b.mistake = err.Error()
		}
		return n
	}
	b.startAfter, b.readyAfter, b.exitAfter, b.stopAfter = duration("start-after"), duration("ready-after"), duration("exit-after"), duration("stop-after")
	b.status, b.unhealthyStatus = number("status", http.StatusOK), number("unhealthy-status", http.StatusInternalServerError)
	b.port = number("port", portOf(spec))
	b.execExitCode = number("exec-exit-code", 0)
	if say("exit-code") != "" {
		b.exits, b.exitCode = true, int32(number("exit-code", 0)) //nolint:gosec // exit codes are small
	}
	for line := range strings.SplitSeq(say("log"), "\n") {
		if line != "" {
			b.log = append(b.log, line)
		}
	}
	for command := range strings.SplitSeq(say("commands"), ",") {
		if command = strings.TrimSpace(command); command != "" {
			b.commands = append(b.commands, command)
		}
	}
	return b
}

// portOf is where an image listens that does not say it: most tests declare the
// port of an imagined program and nothing else.
func portOf(spec *corev1.Container) int {
	for _, p := range spec.Ports {
		if p.ContainerPort == defaultPort {
			return defaultPort
		}
	}
	if len(spec.Ports) > 0 {
		return int(spec.Ports[0].ContainerPort)
	}
	return defaultPort
}

// has tells whether the image has an executable.
func (b behaviour) has(command string) bool {
	if len(b.commands) == 0 {
		return !strings.HasPrefix(command, "/nonexistent")
	}
	for _, c := range b.commands {
		if c == command {
			return true
		}
	}
	return false
}

// answer is the status of an answer, seen so long after the program listens.
func (b behaviour) answer(path string, listening time.Duration) int {
	switch {
	case listening < b.readyAfter:
		return http.StatusServiceUnavailable
	case b.unhealthyPath != "" && path == b.unhealthyPath:
		return b.unhealthyStatus
	}
	return b.status
}
