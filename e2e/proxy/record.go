package proxy

import (
	"encoding/json"
	"net/http"
	"os"
	"sync"
	"time"
)

// Entry is one line of requests.jsonl. It never holds a token.
type Entry struct {
	Time          time.Time `json:"time"`
	Client        string    `json:"client"`
	Host          string    `json:"host"`
	Method        string    `json:"method"`
	Path          string    `json:"path"` // with its query
	Status        int       `json:"status"`
	Authorization bool      `json:"authorization"` // whether the request had an Authorization header
	DurationMS    float64   `json:"duration_ms"`
}

func newEntry(r *http.Request, from peer) Entry {
	path := r.URL.RequestURI()
	if r.Method == http.MethodConnect {
		path = ""
	} else if r.URL.IsAbs() {
		u := *r.URL
		u.Scheme, u.Host = "", ""
		path = u.RequestURI()
	}
	return Entry{
		Time: time.Now(), Client: from.client, Host: from.host, Method: r.Method, Path: path,
		Authorization: r.Header.Get("Authorization") != "",
	}
}

type records struct {
	mu   sync.Mutex
	file *os.File
}

func openRecords(path string) (*records, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return &records{file: f}, err
}

func (r *records) add(e Entry, status int) {
	e.Status = status
	e.DurationMS = float64(time.Since(e.Time).Microseconds()) / 1000
	line, err := json.Marshal(e)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = r.file.Write(append(line, '\n'))
}

func (r *records) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.file.Close()
}

// recorder remembers the status, and passes on what streams.
type recorder struct {
	http.ResponseWriter
	status  int
	written int
}

// WriteHeader remembers the first final status.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write is a 200 unless a status was set.
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.written += n
	return n, err
}

// Unwrap gives http.ResponseController the writer underneath.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
