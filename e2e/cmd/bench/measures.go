package main

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/proxy"
)

const tries = 5

// manyTries is less, as kubectl takes half a minute for one.
const manyTries = 3

// two are a Deployment without pods and a Service: a deploy in which nothing
// has to be waited for.
const two = `apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: 0
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec: {containers: [{name: model, image: "%[2]s/model:latest"}]}
---
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec: {selector: {app: %[1]s}, ports: [{port: 80}]}
`

// configMaps are n objects of about 2 kB beside the two.
func configMaps(name string, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, two, name, localcloud.RegistryHost)
	for i := range n - 2 {
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s-%d}\ndata: {content: %q}\n", name, i, strings.Repeat("x", 2000))
	}
	return b.String()
}

// size is what a runner downloads.
func (b *bench) size(context.Context) error {
	f, err := os.Open(b.binary)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var compressed counter
	z := gzip.NewWriter(&compressed)
	if _, err := io.Copy(z, f); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	const mb = 1e6
	fmt.Printf("%-76s %7.1f MB   (budget 36)%s\n", "binary", float64(info.Size())/mb, over(info.Size() > 36*mb))
	fmt.Printf("%-76s %7.1f MB   (budget 13 for the whole image)%s\n", "binary, compressed", float64(compressed)/mb, over(compressed > 13*mb))
	return nil
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// requests counts those to the API server, and how many of all wait for another.
func (b *bench) requests(ctx context.Context) error {
	const n = 50
	folder, sha, err := b.workspace(ctx, configMaps("requests", n))
	if err != nil {
		return err
	}
	for _, deploy := range []struct {
		what, client  string
		factor, extra int
	}{{"first deploy", "first", 3, 12}, {"nothing changed", "again", 2, 4}} {
		if _, err := b.deploy(ctx, folder, sha, b.address(), deploy.client); err != nil {
			return err
		}
		all, err := b.seen(deploy.client)
		if err != nil {
			return err
		}
		api := slices.DeleteFunc(slices.Clone(all), func(e proxy.Entry) bool { return e.Host != "192.0.2.10" })
		bound := deploy.factor*n + deploy.extra
		fmt.Printf("%-76s %7d     (budget %d)%s\n", fmt.Sprintf("requests to the API server, %d objects, %s", n, deploy.what), len(api), bound, over(len(api) > bound))
	}
	// Over a slow line every request that waits for another begins a round trip
	// later. So does what waits only for one of the places in flight, of which the
	// second number of objects is beyond the usual: a chain grows with them if
	// there are too few.
	const roundTrip = 200 * time.Millisecond
	address, stop, err := proxy.Slow(b.address(), roundTrip)
	if err != nil {
		return err
	}
	defer stop()
	for _, n := range []int{10, 100} {
		client := fmt.Sprintf("chain-%d", n)
		if folder, sha, err = b.workspace(ctx, configMaps(client, n)); err != nil {
			return err
		}
		if _, err := b.deploy(ctx, folder, sha, address, client); err != nil {
			return err
		}
		all, err := b.seen(client)
		if err != nil {
			return err
		}
		trips := chain(all, roundTrip)
		fmt.Printf("%-76s %7d     (budget 8)%s\n", fmt.Sprintf("requests one after the other, in the longest chain, %d objects", n), len(trips), over(len(trips) > 8))
		if len(trips) > 8 {
			for _, e := range trips {
				path, _, _ := strings.Cut(e.Path, "?")
				if strings.Contains(e.Path, "dryRun=All") {
					path += " (dry run)"
				}
				fmt.Printf("    %s %s%s\n", e.Method, e.Host, path)
			}
		}
	}
	return nil
}

// chain is the longest list of requests of which each can have waited for the
// answer to the one before: it came a round trip after that answer was sent, or
// later. On a busy machine, where a client is slow to ask, it is too long.
func chain(all []proxy.Entry, roundTrip time.Duration) []proxy.Entry {
	ends := func(e proxy.Entry) time.Time {
		return e.Time.Add(time.Duration(e.DurationMS * float64(time.Millisecond)))
	}
	slices.SortFunc(all, func(a, b proxy.Entry) int { return ends(a).Compare(ends(b)) })
	var list []proxy.Entry
	last := time.Time{}
	for _, e := range all {
		if e.Time.Sub(last) > roundTrip*9/10 {
			list, last = append(list, e), ends(e)
		}
	}
	return list
}

func (b *bench) address() string { return strings.TrimPrefix(b.cloud.Proxy.URL, "http://") }

// many compares with kubectl's server-side apply alone, which checks and waits
// for nothing.
func (b *bench) many(ctx context.Context) error {
	if err := missing("kubectl"); err != nil {
		fmt.Printf("not compared with kubectl: %v\n", err)
		return nil
	}
	const n = 200
	for _, line := range []struct {
		roundTrip time.Duration
		budget    float64
	}{{40 * time.Millisecond, 0.06}, {120 * time.Millisecond, 0.06}} {
		address, stop, err := proxy.Slow(b.address(), line.roundTrip)
		if err != nil {
			return err
		}
		kubeconfig, err := b.kubeconfig(address)
		if err != nil {
			return err
		}
		var a, z []time.Duration
		for range manyTries {
			name := fmt.Sprintf("many-%d", b.count)
			folder, sha, err := b.workspace(ctx, configMaps(name, n))
			if err != nil {
				return err
			}
			result, err := b.deploy(ctx, folder, sha, address, "bench")
			if err != nil {
				return err
			}
			a = append(a, result.Duration)
			other, _, err := b.workspace(ctx, configMaps(name+"-k", n))
			if err != nil {
				return err
			}
			took, err := b.command(ctx, nil, "kubectl", "--kubeconfig", kubeconfig, "apply", "--server-side", "-f", filepath.Join(other, "kubernetes"))
			if err != nil {
				return err
			}
			z = append(z, took)
		}
		stop()
		compare(fmt.Sprintf("first deploy of %d objects at %s / kubectl apply --server-side", n, line.roundTrip), median(a), median(z), line.budget)
	}
	return nil
}

// memory is the most that the action held with as many objects as it takes.
func (b *bench) memory(ctx context.Context) error {
	folder, sha, err := b.workspace(ctx, configMaps("memory", 1000))
	if err != nil {
		return err
	}
	result, err := b.deploy(ctx, folder, sha, b.address(), "memory")
	if err != nil {
		return err
	}
	fmt.Printf("%-76s %7.1f MB   (budget 120)%s\n", "peak memory, 1,000 objects", float64(result.MaxRSS)/1e6, over(result.MaxRSS > 120e6))
	return nil
}
