// Command model is what the tests' images hold when they run on a real node:
// an HTTP server that behaves as its environment says, in the words of the
// labels by which a simulated node acts out the same image (see package node).
// Only the standard library, so that the image is one static file.
package main

import (
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "pause" {
		wait() // as the container that holds a pod's network
		return
	}
	for line := range strings.SplitSeq(os.Getenv("MODEL_LOG"), "\n") {
		if line != "" {
			fmt.Println(line)
		}
	}
	time.Sleep(duration("MODEL_START_AFTER"))
	if os.Getenv("MODEL_OUT_OF_MEMORY") == "true" {
		eat()
	}
	if code := os.Getenv("MODEL_EXIT_CODE"); code != "" {
		after := duration("MODEL_EXIT_AFTER")
		if after == 0 {
			os.Exit(number(code)) // before anybody can connect
		}
		time.AfterFunc(after, func() { os.Exit(number(code)) })
	}
	go serve()
	wait()
}

// wait returns when the kubelet sends SIGTERM; as PID 1 nothing else would end
// the process.
func wait() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	<-stop
}

// serve answers every path as MODEL_STATUS says, and the path in
// MODEL_UNHEALTHY_PATH as MODEL_UNHEALTHY_STATUS says.
func serve() {
	ready := time.Now().Add(duration("MODEL_READY_AFTER"))
	handler := func(w http.ResponseWriter, r *http.Request) {
		status := number(or(os.Getenv("MODEL_STATUS"), "200"))
		if r.URL.Path == os.Getenv("MODEL_UNHEALTHY_PATH") {
			status = number(or(os.Getenv("MODEL_UNHEALTHY_STATUS"), "500"))
		}
		if time.Now().Before(ready) {
			status = http.StatusServiceUnavailable
		}
		w.WriteHeader(status)
		host, _ := os.Hostname()
		fmt.Fprintln(w, or(os.Getenv("MODEL_BODY"), fmt.Sprintf("served by %s (pod %s)", os.Getenv("MODEL_IMAGE"), host)))
	}
	server := http.Server{Addr: ":" + port(), Handler: http.HandlerFunc(handler), ReadHeaderTimeout: 10 * time.Second}
	if err := server.ListenAndServe(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// port is where it listens. A Service named model makes Kubernetes set
// MODEL_PORT to tcp://…, in which nobody says anything to this program.
func port() string {
	value := or(os.Getenv("MODEL_PORT"), "3000")
	if strings.HasPrefix(value, "tcp://") {
		return "3000"
	}
	return value
}

// eat takes memory until the kernel ends the process.
func eat() {
	var kept [][]byte
	for {
		block := make([]byte, 8<<20)
		for i := range block {
			block[i] = 1
		}
		kept = append(kept, block)
		time.Sleep(time.Duration(1+len(kept)%2) * time.Millisecond)
	}
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

func duration(name string) time.Duration {
	d, err := time.ParseDuration(or(os.Getenv(name), "0s"))
	if err != nil {
		fmt.Fprintln(os.Stderr, name, err)
		os.Exit(2)
	}
	return d
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return n
}
