package rollout

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/org/deploy-model-action/pkg/diagnosis"
)

// tailEvery is how often the newest line of a log is read, of one container of a
// workload, and tailFirst how long is waited until then: most need no more.
const (
	tailEvery = 10 * time.Second
	tailFirst = 8 * time.Second
)

// loading is a container whose log is to be read.
type loading struct {
	pod       diagnosis.PodRef
	container string
}

// tail has the newest line read of what a container says that is not ready: a
// model that loads for minutes says there how far it is. It does not wait.
func (f *follower) tail(e *diagnosis.Evidence, now time.Time) {
	if now.Sub(f.tailed) < tailEvery {
		return
	}
	pod, container, ok := e.Loading()
	if !ok {
		return
	}
	select {
	case f.logs <- loading{pod, container}:
		f.tailed = now
	default: // the one before is still being read, or nobody may read any
	}
}

// readLogs reads what tail wants read, until ctx ends or it is forbidden.
func (f *follower) readLogs(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case of := <-f.logs:
			var text string
			var err error
			f.board.reading(ctx, func() { text, err = diagnosis.ReadNewest(ctx, f.client, of.pod, of.container) })
			if apierrors.IsForbidden(err) {
				return // said in the explanation, if there is one
			}
			if err == nil {
				f.send(ctx, observation{evidence: func(e *diagnosis.Evidence, _ time.Time) { e.ObserveLog(of.pod.UID, text) }})
			}
		}
	}
}
