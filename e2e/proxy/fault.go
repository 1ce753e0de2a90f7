package proxy

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is something that goes wrong with requests that match. Empty fields
// match everything.
type Fault struct {
	Client string `json:"client,omitempty"` // the user name given to the proxy
	Host   string `json:"host,omitempty"`   // exact
	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`  // a part of path and query
	Times  int    `json:"times,omitempty"` // 0: until it is cleared

	DelayMS     int    `json:"delay_ms,omitempty"`     // before anything else happens
	Status      int    `json:"status,omitempty"`       // answered instead of asking the host
	Body        string `json:"body,omitempty"`         // of that answer
	Size        int64  `json:"size,omitempty"`         // bytes that the body is filled up to, with x
	RetryAfter  int    `json:"retry_after,omitempty"`  // seconds, in that answer
	ResetBefore bool   `json:"reset_before,omitempty"` // the connection breaks, with all that is on it, and the host was not asked
	ResetAfter  bool   `json:"reset_after,omitempty"`  // the connection breaks in the same way, after the host has done it
	CutAfterMS  int    `json:"cut_after_ms,omitempty"` // the answer ends in the middle: a cut watch
}

// Faults are the ones in force.
type Faults struct {
	mu  sync.Mutex
	all []*Fault
}

// Add puts a fault in force and returns a function that takes it back.
func (f *Faults) Add(fault Fault) (remove func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	added := &fault
	if added.Times == 0 {
		added.Times = -1
	}
	f.all = append(f.all, added)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		added.Times = 0
	}
}

// ServeHTTP puts a fault in force (POST, a Fault as JSON) or clears all (DELETE).
func (f *Faults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		var fault Fault
		decoder := json.NewDecoder(io.LimitReader(r.Body, 1<<20))
		decoder.DisallowUnknownFields() // a fault that is misspelt would match everything and do nothing
		if err := decoder.Decode(&fault); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		f.Add(fault)
	case http.MethodDelete:
		f.mu.Lock()
		defer f.mu.Unlock()
		f.all = nil
	default:
		http.Error(w, "POST a fault, or DELETE all", http.StatusMethodNotAllowed)
	}
}

// take finds the first fault for the request and uses it up once.
func (f *Faults) take(r *http.Request, from peer) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fault := range f.all {
		if fault.Times == 0 ||
			fault.Client != "" && fault.Client != from.client ||
			fault.Host != "" && fault.Host != from.host ||
			fault.Method != "" && fault.Method != r.Method ||
			!strings.Contains(r.URL.RequestURI(), fault.Path) {
			continue
		}
		if fault.Times > 0 {
			fault.Times--
		}
		return *fault, true
	}
	return Fault{}, false
}

func (f *Faults) play(w http.ResponseWriter, r *http.Request, from peer, handler http.Handler) {
	fault, ok := f.take(r, from)
	if !ok {
		handler.ServeHTTP(w, r)
		return
	}
	select {
	case <-time.After(time.Duration(fault.DelayMS) * time.Millisecond):
	case <-r.Context().Done():
		return
	}
	switch {
	case fault.ResetBefore:
		reset(r)
	case fault.ResetAfter:
		handler.ServeHTTP(httptest.NewRecorder(), r)
		reset(r)
	case fault.Status != 0:
		if fault.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(fault.RetryAfter))
		}
		if strings.HasPrefix(fault.Body, "{") {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(fault.Status)
		fmt.Fprint(w, fault.Body)
		_, _ = io.CopyN(w, filler{}, fault.Size-int64(len(fault.Body)))
	case fault.CutAfterMS > 0:
		cut(w, r, handler, time.Duration(fault.CutAfterMS)*time.Millisecond)
	default:
		handler.ServeHTTP(w, r)
	}
}

// filler is x without end.
type filler struct{}

// Read implements io.Reader.
func (filler) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
