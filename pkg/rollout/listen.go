package rollout

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/org/deploy-model-action/pkg/diagnosis"
	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/retry"
)

const (
	// listeners is how many logs are followed at the same time, of all objects.
	listeners = 16
	// listenAgain is when a log is followed again that something else ended; one that
	// ends sooner than that again has ended.
	listenAgain = 2 * time.Second
	// listenPause is how long a log is left alone that says much.
	listenPause = 5 * time.Second
)

// listen has logs followed of new containers that have to go on running, for their
// end: a kubelet that is busy writes tens of seconds later that a container has ended,
// and until then the status is that of a pod that serves. It does not wait.
func (f *follower) listen(s *state) {
	if !s.hasToGoOn() {
		return
	}
	for _, r := range s.evidence.Running() {
		if f.heard[r.ID] {
			continue
		}
		select {
		case f.board.listeners <- struct{}{}:
		default:
			return // all places are taken: another time
		}
		select {
		case f.running <- r:
			f.heard[r.ID] = true
		default: // the one before is not begun yet
			<-f.board.listeners
		}
	}
}

// followLogs follows what listen wants followed and took a place for, until ctx ends.
func (f *follower) followLogs(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-f.running:
			fault.Go(ctx, func() {
				defer func() { <-f.board.listeners }()
				f.followLog(ctx, r)
			})
		}
	}
}

// followLog follows one. A connection may end for many reasons, so that only a log
// that ends twice has ended.
func (f *follower) followLog(ctx context.Context, r diagnosis.Running) {
	for suspected := false; ; {
		began := time.Now()
		ended, err := diagnosis.FollowLog(ctx, f.client, r.Pod, r.Container)
		switch {
		case ctx.Err() != nil || apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || apierrors.IsBadRequest(err):
			return // nobody may, or the status knows more by now
		case ended && suspected && time.Since(began) < listenAgain:
			f.send(ctx, observation{evidence: func(e *diagnosis.Evidence, now time.Time) { e.ObserveLogEnd(r, now) }})
			return
		}
		pause := listenPause
		if suspected = ended; ended {
			pause = 0
		}
		if retry.Sleep(ctx, pause) != nil {
			return
		}
	}
}
