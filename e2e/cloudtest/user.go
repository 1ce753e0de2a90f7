package cloudtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// User asks the model again and again, as people do who know nothing of a deploy.
// What it has is to be read after End.
type User struct {
	Asked    int
	Failures []string
	Answers  []string // the images that answered, each once

	http    *http.Client
	address string
	stop    context.CancelFunc
	done    sync.WaitGroup
}

// User begins to ask at an address when the model serves there: the deploy that
// made it says so when its pods are ready, and endpoints and load balancer learn of
// them a moment later.
func (x *Test) User(address string, every time.Duration) *User {
	x.Helper()
	through, err := url.Parse(x.Cloud.Proxy.URL)
	if err != nil {
		x.Fatal(err)
	}
	through.User = url.User("users")
	c := &User{
		address: address,
		http:    &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(through)}, Timeout: 10 * time.Second},
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(x.Context()))
	c.stop = stop
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c.ask(ctx)
		if len(c.Answers) > 0 || time.Now().After(deadline) {
			break
		}
		c.Asked, c.Failures = 0, nil
	}
	c.done.Go(func() {
		for ctx.Err() == nil {
			c.ask(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(every):
			}
		}
	})
	return c
}

func (c *User) ask(ctx context.Context) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.address, nil)
	if err != nil {
		c.Failures = append(c.Failures, err.Error())
		return
	}
	response, err := c.http.Do(request)
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			c.Asked++
			c.Failures = append(c.Failures, err.Error())
		}
		return
	}
	defer response.Body.Close()
	c.Asked++
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	if err != nil || response.StatusCode != http.StatusOK {
		c.Failures = append(c.Failures, fmt.Sprintf("at %s: %s %s %v", time.Now().Format("15:04:05.000"), response.Status, body, err))
		return
	}
	if image := servedBy(string(body)); !slices.Contains(c.Answers, image) {
		c.Answers = append(c.Answers, image)
	}
}

// servedBy is the image in "served by IMAGE (pod NAME)".
func servedBy(body string) string {
	var image string
	_, _ = fmt.Sscanf(body, "served by %s", &image)
	return image
}

// End stops asking.
func (c *User) End() {
	c.stop()
	c.done.Wait()
	c.http.CloseIdleConnections()
}
