package casetest

import (
	"cmp"
	"context"
	"crypto/sha1" //nolint:gosec // as below
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/registry"
)

// World is where cases are played. Several may be played at once.
type World struct {
	cloud            *localcloud.Cloud
	binary, metadata string
	settle           time.Duration
	kube             *kubernetes.Clientset
	objects          dynamic.Interface

	runs  atomic.Int64
	mu    sync.Mutex
	held  map[string]map[string]string // labels of what was published, by reference
	kinds map[string]location          // by the kind as cases write it

	applying sync.Mutex // kubectl apply of what comes before
}

// Options say what a world is made of.
type Options struct {
	// Cloud is required, and Binary, which is the action, and Metadata, the path of its action.yml.
	Cloud            *localcloud.Cloud
	Binary, Metadata string
	// Settle is how long objects have to become what is expected: what controllers
	// write comes after a run has ended. Nobody waits so long for what holds. Default, 15 s.
	Settle time.Duration
}

// NewWorld returns a world that begins empty.
func NewWorld(o Options) (*World, error) {
	config := rest.CopyConfig(o.Cloud.ControlPlane.Config)
	config.WarningHandler, config.QPS = rest.NoWarnings{}, -1
	w := &World{cloud: o.Cloud, binary: o.Binary, metadata: o.Metadata, settle: cmp.Or(o.Settle, 15*time.Second), held: map[string]map[string]string{}, kinds: map[string]location{}}
	var err error
	if w.kube, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	w.objects, err = dynamic.NewForConfig(config)
	return w, err
}

// runID is the number of a workflow run that is newer than all before it.
func (w *World) runID() string { return strconv.FormatInt(17_000_000_000+w.runs.Add(1), 10) }

// commit is the name of a case's n-th commit, which no other case has.
func commit(of string, n int) string {
	return fmt.Sprintf("%x", sha1.Sum(fmt.Append(nil, of, n))) //nolint:gosec // git's names look like this
}

// publish makes sure that an image is there. Cases have one registry, as people have:
// two that want different images under one reference would depend on who is first.
func (w *World) publish(ctx context.Context, reference string, labels map[string]string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if held, ok := w.held[reference]; ok {
		if !maps.Equal(held, labels) {
			return fmt.Errorf("image %s: another case has another one under this reference: give one of them another name or tag", reference)
		}
		return nil
	}
	ref, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		return fmt.Errorf("image %s: %w", reference, err)
	}
	store, err := w.store(ref.Context().RegistryStr())
	if err != nil {
		return fmt.Errorf("image %s: %w", reference, err)
	}
	own, processor := maps.Clone(labels), []string{}
	if labels[architecture] != "" {
		processor = []string{labels[architecture]}
		delete(own, architecture)
	}
	image, err := registry.Image(own, processor...)
	if err != nil {
		return fmt.Errorf("image %s: %w", reference, err)
	}
	if err := remote.Write(ref, image, remote.WithContext(ctx), remote.WithTransport(store)); err != nil {
		return fmt.Errorf("image %s: %w", reference, err)
	}
	w.held[reference] = labels
	return nil
}

// store is a registry of the cloud, without its doors.
func (w *World) store(host string) (http.RoundTripper, error) {
	if host == w.cloud.Registry.Host {
		return w.cloud.Registry.Transport(), nil
	}
	if r, ok := w.cloud.Foreign[host]; ok {
		return r.Transport(), nil
	}
	hosts := append([]string{w.cloud.Registry.Host}, localcloud.GHCR, localcloud.Harbor, localcloud.PlainRegistry)
	return nil, errors.New("the local cloud has the registries " + strings.Join(hosts, ", ") + " only")
}
