package node

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// A framework is how a model server takes a question at /predict, and what it
// answers to one that it does not understand: the label model.framework.
//
//	framework         "bentoml": a form with the file image; "fastapi": a form with
//	                  the file file; "json": {"instances": [...]}
//	prediction        what it predicts; default Earth
//	predict-after     how long it thinks
//	predict           "endless": an answer without end; "drip": one that comes byte by byte;
//	                  "crash": it ends with exit code 1
//
// A real node has no such labels: there the program is what it is.
type framework struct {
	name, prediction, manner string
	after                    time.Duration
}

func newFramework(say word) framework {
	f := framework{name: say("framework"), prediction: say("prediction"), manner: say("predict")}
	if f.prediction == "" {
		f.prediction = "Earth"
	}
	f.after, _ = time.ParseDuration(say("predict-after"))
	return f
}

// predict answers a question as the framework does. It reports false for a path
// that is not its own.
func (p *pod) predict(w http.ResponseWriter, r *http.Request, port int) bool {
	c, current := p.program(port)
	if c == nil || r.URL.Path != "/predict" || current.behaviour.framework.name == "" {
		return false
	}
	f := current.behaviour.framework
	if r.Method != http.MethodPost {
		reply(w, http.StatusMethodNotAllowed, map[string]any{"detail": "Method Not Allowed"})
		return true
	}
	if code, problem := f.understand(r); problem != nil {
		reply(w, code, problem)
		return true
	}
	select {
	case <-time.After(f.after):
	case <-r.Context().Done():
		return true
	}
	switch f.manner {
	case "crash":
		for _, text := range []string{"Traceback (most recent call last):", `  File "/app/service.py", line 12, in predict`, "ValueError: cannot reshape array of size 3072 into shape (1,32,32,1)"} {
			current.log.add(text)
		}
		c.end(current, 1, "", "")
		panic(http.ErrAbortHandler)
	case "endless", "drip":
		f.pour(w, r)
	default:
		answer := map[string]any{"prediction": f.prediction, "probabilities": []float64{0.01, 0.02, 0.97}, "api_token": "sk-live-0123456789abcdef0123456789"}
		if f.name == "json" {
			answer = map[string]any{"predictions": []any{answer}}
		}
		reply(w, http.StatusOK, answer)
	}
	return true
}

// understand reads the question, or says what is wrong with it in the framework's words.
func (f framework) understand(r *http.Request) (code int, problem any) {
	switch f.name {
	case "bentoml": // bentoml._internal.io_descriptors, and starlette's own parser
		if _, _, err := r.FormFile("image"); err != nil {
			return http.StatusBadRequest, map[string]any{"error": "BentoService error handling API request: Invalid input: 1 validation error for Input\nimage\n  Field required"}
		}
	case "fastapi":
		if _, header, err := r.FormFile("file"); err != nil || header.Size == 0 {
			return http.StatusUnprocessableEntity, map[string]any{"detail": []any{map[string]any{"type": "missing", "loc": []any{"body", "file"}, "msg": "Field required", "input": nil}}}
		}
	default:
		var question struct{ Instances []any }
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
			return http.StatusUnsupportedMediaType, map[string]any{"detail": "Unsupported media type"}
		}
		if json.Unmarshal(body, &question) != nil || len(question.Instances) == 0 {
			return http.StatusBadRequest, map[string]any{"error": "Missing \"instances\" key"}
		}
	}
	return 0, nil
}

// pour answers without an end, fast or slowly.
func (f framework) pour(w http.ResponseWriter, r *http.Request) {
	piece, pause := strings.Repeat("[0.1,", 4096), time.Duration(0)
	if f.manner == "drip" {
		piece, pause = " ", 100*time.Millisecond
	}
	for r.Context().Err() == nil {
		if _, err := io.WriteString(w, piece); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush() // where it can be
		time.Sleep(pause)
	}
}

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	text, _ := json.Marshal(body)
	fmt.Fprintln(w, string(text))
}

// program is the container that listens at a port, and its run.
func (p *pod) program(port int) (*container, *run) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.all() {
		if _, ok := c.listens(port); ok {
			return c, c.current
		}
	}
	return nil, nil
}
