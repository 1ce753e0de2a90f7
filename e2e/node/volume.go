package node

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// mounts is how far the mounting of a pod's volumes is.
type mounts struct {
	done    bool
	backoff time.Duration
	next    time.Time
}

// The kubelet's pauses between two attempts to mount:
// pkg/util/goroutinemap/exponentialbackoff.
const (
	firstMountPause   = 500 * time.Millisecond
	longestMountPause = 2*time.Minute + 2*time.Second
)

// mountVolumes mounts what is not mounted, and returns when to try again; 0 when all is.
func (p *pod) mountVolumes(ctx context.Context, object *corev1.Pod) time.Duration {
	if p.mounts.done {
		return 0
	}
	if left := time.Until(p.mounts.next); left > 0 {
		return left
	}
	from, failed := newSource(p), false
	for _, v := range object.Spec.Volumes {
		if err := p.mount(ctx, from, v); err != nil {
			failed = true
			p.warning("FailedMount", "MountVolume.SetUp failed for volume %q : %v", v.Name, err)
		}
	}
	if !failed {
		p.mounts.done = true
		return 0
	}
	p.mounts.backoff = min(max(2*p.mounts.backoff, firstMountPause), longestMountPause)
	p.mounts.next = time.Now().Add(p.mounts.backoff)
	return p.mounts.backoff
}

// mount checks that what a volume holds is there: pkg/volume/{configmap,secret,projected}.
func (p *pod) mount(ctx context.Context, from *source, v corev1.Volume) error {
	switch {
	case v.ConfigMap != nil:
		return files(ctx, from.configMap, v.ConfigMap.Name, v.ConfigMap.Items, isTrue(v.ConfigMap.Optional), "configmap references non-existent config key")
	case v.Secret != nil:
		return files(ctx, from.secret, v.Secret.SecretName, v.Secret.Items, isTrue(v.Secret.Optional), "references non-existent secret key")
	case v.Projected != nil:
		for _, s := range v.Projected.Sources {
			var err error
			switch {
			case s.ConfigMap != nil:
				err = files(ctx, from.configMap, s.ConfigMap.Name, s.ConfigMap.Items, isTrue(s.ConfigMap.Optional), "configmap references non-existent config key")
			case s.Secret != nil:
				err = files(ctx, from.secret, s.Secret.Name, s.Secret.Items, isTrue(s.Secret.Optional), "references non-existent secret key")
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func files(ctx context.Context, get func(context.Context, string) (map[string]string, error), name string, items []corev1.KeyToPath, optional bool, missing string) error {
	data, err := get(ctx, name)
	if err != nil {
		if apierrors.IsNotFound(err) && optional {
			return nil
		}
		return err
	}
	for _, item := range items {
		if _, ok := data[item.Key]; !ok && !optional {
			return fmt.Errorf("%s: %s", missing, item.Key)
		}
	}
	return nil
}
