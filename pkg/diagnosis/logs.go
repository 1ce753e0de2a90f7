package diagnosis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/redact"
)

// Bounds of what is read of one container's log; what is kept is at most logLines times logLineBytes.
const (
	logLines     = 40
	logLineBytes = 4 << 10
	logBytes     = 1 << 20
	logTimeout   = 10 * time.Second
	newestLines  = 5 // read for the newest that is not empty
)

// readLog reads the last lines of a container, of its run before the last restart
// if previous. The kubelet keeps one run back, so the other one is tried when
// there is none.
func readLog(ctx context.Context, client *kube.Client, pod PodRef, container string, previous bool) (lines []string, of string, err error) {
	if client.REST() == nil {
		return nil, "", nil
	}
	log := logOf{pod: pod, container: container, previous: previous, lines: logLines}
	lines, err = requestLog(ctx, client, log)
	if previous && (err != nil && !apierrors.IsForbidden(err) || err == nil && len(lines) == 0) {
		log.previous = false
		if now, again := requestLog(ctx, client, log); again == nil {
			lines, err, previous = now, nil, false
		}
	}
	if err != nil {
		return nil, "", fmt.Errorf("log of pod %q, container %q: %w", pod.Name, container, err)
	}
	of = fmt.Sprintf("pod %q, container %q", pod.Name, container)
	if previous {
		of += ", run before the last restart"
	}
	return lines, of, nil
}

// ReadNewest reads the newest line of a container's log that says anything; "" if
// there is none.
func ReadNewest(ctx context.Context, client *kube.Client, pod PodRef, container string) (string, error) {
	if client.REST() == nil {
		return "", nil
	}
	lines, err := requestLog(ctx, client, logOf{pod: pod, container: container, lines: newestLines})
	if err != nil {
		return "", err
	}
	for _, text := range slices.Backward(lines) {
		if text = line(text); strings.TrimSpace(text) != "" {
			return text, nil
		}
	}
	return "", nil
}

// followBytes is how much is read of a log that is followed: who writes more than
// that is running.
const followBytes = 64 << 10

// FollowLog returns when the log of a container's present run ends, which the kubelet
// finds out from the runtime, and does not write into the pod's status before it comes
// to it. ended is false if that is not what ended it, or if much was written.
func FollowLog(ctx context.Context, client *kube.Client, pod PodRef, container string) (ended bool, err error) {
	if client.REST() == nil {
		return false, errNoLog
	}
	body, err := client.REST().Get().
		AbsPath("/api/v1/namespaces", pod.Namespace, "pods", pod.Name, "log").
		Param("container", container).
		Param("follow", "true").
		Param("tailLines", "0").
		Stream(ctx)
	if err != nil {
		return false, err
	}
	defer body.Close()
	var first bytes.Buffer // what the kubelet says in place of a log
	n, err := io.Copy(io.Discard, io.TeeReader(io.LimitReader(body, followBytes), &limited{&first}))
	for _, none := range []string{noLog, noFile, noWatcher} {
		if bytes.HasPrefix(first.Bytes(), []byte(none)) {
			return false, errNoLog
		}
	}
	return err == nil && n < followBytes, err
}

// limited keeps the beginning of what is written to it.
type limited struct{ *bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	l.Buffer.Write(p[:min(len(p), 256-min(l.Len(), 256))])
	return len(p), nil
}

// logOf says which log is meant, and how many lines of it are read.
type logOf struct {
	pod       PodRef
	container string
	previous  bool // of the run before the last restart
	lines     int
}

func requestLog(ctx context.Context, client *kube.Client, log logOf) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, logTimeout)
	defer cancel()
	request := client.REST().Get().
		AbsPath("/api/v1/namespaces", log.pod.Namespace, "pods", log.pod.Name, "log").
		Param("container", log.container).
		Param("tailLines", strconv.Itoa(log.lines)).
		Param("limitBytes", strconv.Itoa(logBytes))
	if log.previous {
		request = request.Param("previous", "true")
	}
	body, err := request.Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	// What arrived until a connection was cut is worth showing.
	text, err := io.ReadAll(io.LimitReader(body, logBytes))
	if len(text) == 0 && err != nil {
		return nil, err
	}
	for _, none := range []string{noLog, noFile} {
		if bytes.HasPrefix(text, []byte(none)) {
			return nil, errNoLog
		}
	}
	return logTail(text), nil
}

// noLog, noFile and noWatcher are what the kubelet answers, with status 200, when the container
// that it was asked about is gone (pkg/kubelet/kuberuntime/kuberuntime_container.go),
// or has no log yet, or the node's inotify instances are used up (k8s.io/cri-client/pkg/logs).
const (
	noLog     = "unable to retrieve container logs for "
	noFile    = "failed to try resolving symlinks in path "
	noWatcher = "failed to create fsnotify watcher"
)

var errNoLog = errors.New("the kubelet has none any more")

// logTail cuts a log into its last lines, of at most logLineBytes each, without credentials.
func logTail(text []byte) []string {
	text = bytes.TrimRight(text[:min(len(text), logBytes)], "\r\n")
	if len(text) == 0 {
		return nil
	}
	lines := strings.Split(strings.ToValidUTF8(string(text), ""), "\n")
	lines = lines[max(0, len(lines)-logLines):]
	for i, line := range lines {
		// A progress bar rewrites its line; the last state is the one that people saw.
		// What is far behind the end of what is kept need not be searched.
		lines[i] = cutBytes(afterLast(strings.TrimRight(line, "\r"), "\r"), 4*logLineBytes)
	}
	lines = strings.Split(redact.Secrets(strings.Join(lines, "\n")), "\n") // a private key has many lines
	for i, line := range lines {
		lines[i] = cutBytes(line, logLineBytes)
	}
	return lines
}

// cutBytes shortens s to limit bytes and shows that it did.
func cutBytes(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := limit - len("…")
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
