package kinds_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/org/deploy-model-action/e2e/cloudtest"
)

// controller plays the controllers of all kinds: when a deploy has written an
// object, it writes one status after the other.
type controller struct {
	*cloudtest.Test
	kinds []kind
	known map[string]string // resourceVersion before the deploy, by name
}

func newController(x *cloudtest.Test, of []kind) *controller {
	x.Helper()
	define(x)
	return &controller{Test: x, kinds: of, known: map[string]string{}}
}

// step is a status that is written a while after the one before.
type step struct {
	after  time.Duration
	status func(kind) string
}

// play plays the steps for what is written from now on, until stop is called.
func (c *controller) play(version string, steps ...step) (stop func()) {
	c.Helper()
	ctx, cancel := context.WithCancel(c.Context())
	var group sync.WaitGroup
	for _, k := range c.kinds {
		c.known[k.name()] = ""
		if u := c.get(ctx, k); u != nil {
			c.known[k.name()] = u.GetResourceVersion()
		}
	}
	for _, k := range c.kinds {
		known := c.known[k.name()]
		group.Go(func() {
			for u := c.get(ctx, k); u == nil || u.GetResourceVersion() == known; u = c.get(ctx, k) {
				if !sleep(ctx, 200*time.Millisecond) {
					return
				}
			}
			for _, s := range steps {
				if !sleep(ctx, s.after) {
					return
				}
				c.write(ctx, k, version, s.status(k))
			}
		})
	}
	return func() { cancel(); group.Wait() }
}

func (c *controller) get(ctx context.Context, k kind) *unstructured.Unstructured {
	u, err := c.Dynamic().Resource(k.resource()).Namespace(c.Namespace).Get(ctx, "model", metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return u
}

// write writes a status, with what the published definitions want of conditions.
func (c *controller) write(ctx context.Context, k kind, version, text string) {
	u := c.get(ctx, k)
	if u == nil {
		return
	}
	text = strings.NewReplacer("GEN", strconv.FormatInt(u.GetGeneration(), 10), "VERSION", version).Replace(text)
	var status map[string]any
	if err := yaml.Unmarshal([]byte(text), &status); err != nil {
		c.Errorf("%s: %v", k.name(), err)
		return
	}
	complete(status)
	u.Object["status"] = status
	resource := c.Dynamic().Resource(k.resource()).Namespace(c.Namespace)
	var err error
	if k.noSubresource {
		_, err = resource.Update(ctx, u, metav1.UpdateOptions{FieldManager: "controller"})
	} else {
		_, err = resource.UpdateStatus(ctx, u, metav1.UpdateOptions{FieldManager: "controller"})
	}
	if err != nil && ctx.Err() == nil {
		c.Errorf("%s: %v", k.name(), err)
	}
}

// complete gives every condition a time, a reason and a message.
func complete(in any) {
	switch in := in.(type) {
	case map[string]any:
		if _, ok := in["type"].(string); ok && in["status"] != nil {
			in["lastTransitionTime"] = time.Now().UTC().Format(time.RFC3339)
			for field, otherwise := range map[string]string{"reason": "Played", "message": ""} {
				if in[field] == nil {
					in[field] = otherwise
				}
			}
		}
		for _, value := range in {
			complete(value)
		}
	case []any:
		for _, value := range in {
			complete(value)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
