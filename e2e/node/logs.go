package node

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// journal is the log of one run of a container.
type journal struct {
	mu     sync.Mutex
	lines  []line
	closed bool
	more   chan struct{} // closed and replaced whenever something is added
}

type line struct {
	at   time.Time
	text string
}

func newJournal() *journal { return &journal{more: make(chan struct{})} }

func (j *journal) add(text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line{time.Now(), text})
	j.news()
}

func (j *journal) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	j.news()
}

func (j *journal) news() {
	close(j.more)
	j.more = make(chan struct{})
}

// from returns the lines after the first n, whether the log has ended, and what
// to wait for if it has not.
func (j *journal) from(n int) (lines []line, over bool, more <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lines[min(n, len(j.lines)):], j.closed, j.more
}

// kubelet answers what the API server asks the nodes' kubelets.
func (n *Nodes) kubelet() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", n.containerLogs)
	return mux
}

// containerLogs is getContainerLogs of pkg/kubelet/server.
func (n *Nodes) containerLogs(w http.ResponseWriter, r *http.Request) {
	p := n.pod(r.PathValue("namespace"), r.PathValue("pod"))
	if p == nil {
		refuse(w, http.StatusNotFound, fmt.Sprintf("pod %q does not exist", r.PathValue("pod")))
		return
	}
	var c *container
	for _, x := range p.all() {
		if x.spec.Name == r.PathValue("container") {
			c = x
		}
	}
	if c == nil {
		refuse(w, http.StatusNotFound, fmt.Sprintf("container %q not found in pod %q", r.PathValue("container"), p.name))
		return
	}
	query := r.URL.Query()
	wanted, err := c.logOf(query.Get("previous") == "true")
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	if wanted == nil {
		// The kubelet removes init containers that ended, but the status still names them.
		fmt.Fprintf(w, "unable to retrieve container logs for containerd://%s", c.lastID())
		return
	}
	options := logOptions{
		timestamps: query.Get("timestamps") == "true", follow: query.Get("follow") == "true",
		tail: number(query.Get("tailLines")), limit: number(query.Get("limitBytes")),
	}
	if s := number(query.Get("sinceSeconds")); s >= 0 {
		options.since = time.Now().Add(-time.Duration(s) * time.Second)
	}
	if t, err := time.Parse(time.RFC3339, query.Get("sinceTime")); err == nil {
		options.since = t
	}
	options.write(r.Context(), w, wanted)
}

// refuse answers as the kubelet does: the message alone, without a line's end.
func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprint(w, message)
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}

// logOf chooses the run whose log is wanted: validateContainerLogStatus of the
// kubelet. There is no log when the run is known and its container is not there.
func (c *container) logOf(previous bool) (*journal, error) {
	waits := c.told()
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	s := c.status(c.pod.latest)
	runs := map[string]*journal{}
	for _, r := range []*run{c.current, c.previous} {
		if r != nil {
			runs["containerd://"+r.id] = r.log
		}
	}
	last := s.LastTerminationState.Terminated
	switch {
	case previous:
		if last == nil {
			return nil, fmt.Errorf("previous terminated container %q in pod %q not found", s.Name, c.pod.name)
		}
		if c.init {
			return nil, nil
		}
		return runs[last.ContainerID], nil
	case s.State.Running != nil:
		return runs[s.ContainerID], nil
	case s.State.Terminated != nil:
		return runs[s.State.Terminated.ContainerID], nil
	case last != nil:
		return runs[last.ContainerID], nil
	}
	reason := s.State.Waiting.Reason
	if waits != "" {
		reason = waits
	}
	switch reason {
	case "ErrImagePull":
		reason = "image can't be pulled"
	case "ImagePullBackOff":
		reason = "trying and failing to pull image"
	}
	return nil, fmt.Errorf("container %q in pod %q is waiting to start: %v", s.Name, c.pod.name, reason)
}

// told is what the container waited for when the pod's status was sent last: the
// kubelet answers by that, and it may be pulling the image again by now.
func (c *container) told() string {
	c.pod.reporting.Lock()
	defer c.pod.reporting.Unlock()
	for _, list := range [][]corev1.ContainerStatus{c.pod.statusSent.InitContainerStatuses, c.pod.statusSent.ContainerStatuses} {
		for _, s := range list {
			if s.Name == c.spec.Name && s.State.Waiting != nil {
				return s.State.Waiting.Reason
			}
		}
	}
	return ""
}

// lastID identifies the run before the present one.
func (c *container) lastID() string {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if c.previous == nil || c.current.exited && c.reason != "" {
		return c.current.id
	}
	return c.previous.id
}

type logOptions struct {
	timestamps, follow bool
	tail, limit        int // -1: all
	since              time.Time
}

// write writes a log, and what is added to it if that is wanted.
func (o logOptions) write(ctx context.Context, w http.ResponseWriter, j *journal) {
	flush := http.NewResponseController(w)
	lines, over, more := j.from(0)
	seen := len(lines)
	if o.tail >= 0 {
		lines = lines[max(0, len(lines)-o.tail):]
	}
	left := o.limit
	for {
		var b bytes.Buffer
		for _, l := range lines {
			if l.at.Before(o.since) {
				continue
			}
			if o.timestamps {
				b.WriteString(l.at.UTC().Format(logTime) + " ")
			}
			b.WriteString(strings.TrimRight(l.text, "\n") + "\n")
		}
		text := b.Bytes()
		if o.limit >= 0 {
			text = text[:min(left, len(text))]
			left -= len(text)
		}
		if _, err := w.Write(text); err != nil {
			return
		}
		_ = flush.Flush()
		if !o.follow || over || o.limit >= 0 && left <= 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-more:
		}
		lines, over, more = j.from(seen)
		seen += len(lines)
	}
}

// logTime is how the kubelet writes a line's time.
const logTime = "2006-01-02T15:04:05.000000000Z07:00"
