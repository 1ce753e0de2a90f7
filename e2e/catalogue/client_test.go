package catalogue_test

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

	"github.com/org/deploy-model-action/e2e/cloudtest"
)

// client asks the model every 50 ms, as users do who know nothing of a deploy. It
// begins when the model serves: the deploy that made it says so when its pods are
// ready, and endpoints and load balancer learn of them a moment later.
type client struct {
	http    *http.Client
	address string
	stop    context.CancelFunc
	done    sync.WaitGroup

	asked    int
	failures []string
	answers  []string // each once
}

func newClient(x *cloudtest.Test, address string) *client {
	x.Helper()
	through, err := url.Parse(x.Cloud.Proxy.URL)
	if err != nil {
		x.Fatal(err)
	}
	through.User = url.User("users")
	c := &client{
		address: address,
		http:    &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(through)}, Timeout: 10 * time.Second},
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(x.Context()))
	c.stop = stop
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c.ask(ctx)
		if len(c.answers) > 0 || time.Now().After(deadline) {
			break
		}
		c.asked, c.failures = 0, nil
	}
	c.done.Go(func() {
		for ctx.Err() == nil {
			c.ask(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	return c
}

func (c *client) ask(ctx context.Context) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.address, nil)
	if err != nil {
		c.failures = append(c.failures, err.Error())
		return
	}
	response, err := c.http.Do(request)
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			c.asked++
			c.failures = append(c.failures, err.Error())
		}
		return
	}
	defer response.Body.Close()
	c.asked++
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	if err != nil || response.StatusCode != http.StatusOK {
		c.failures = append(c.failures, fmt.Sprintf("at %s: %s %s %v", time.Now().Format("15:04:05.000"), response.Status, body, err))
		return
	}
	if image := servedBy(string(body)); !slices.Contains(c.answers, image) {
		c.answers = append(c.answers, image)
	}
}

// servedBy is the image in "served by IMAGE (pod NAME)".
func servedBy(body string) string {
	var image string
	_, _ = fmt.Sscanf(body, "served by %s", &image)
	return image
}

// end stops asking.
func (c *client) end() {
	c.stop()
	c.done.Wait()
	c.http.CloseIdleConnections()
}
