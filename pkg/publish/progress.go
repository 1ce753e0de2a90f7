package publish

import (
	"context"
	"fmt"
	"strconv"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/org/deploy-model-action/pkg/fault"
)

// interval is how often a line says that an upload goes on.
const interval = 10 * time.Second

// report writes a line now and then until it is stopped.
func (up *uploader) report(ctx context.Context) (stop func()) {
	done := make(chan struct{})
	started := time.Now()
	go func() {
		defer fault.Catch(ctx)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				up.mu.Lock()
				arrived, open := 0, 0
				for _, o := range up.outcomes {
					if o == underWay {
						open++
					} else {
						arrived++
					}
				}
				up.mu.Unlock()
				up.log("… %s done, %d under way, %s sent in %s", plural(arrived, "layer"), open, size(up.sent.Load()), seconds(time.Since(started)))
			}
		}
	}()
	return func() { close(done) }
}

// send sends a blob, and says so.
func (up *uploader) send(ctx context.Context, b blob) error {
	started := time.Now()
	u := &upload{
		repo: up.repo, limits: up.limits, blob: b,
		from: up.owner(b.digest), sent: &up.sent, log: up.log,
	}
	how, err := u.run(ctx)
	if err != nil {
		return err
	}
	up.mu.Lock()
	up.outcomes[b.digest.String()] = how
	up.mu.Unlock()
	line := fmt.Sprintf("%s, %s: %s", b.name(), size(b.size), how)
	if how == uploaded {
		line += " in " + seconds(time.Since(started))
	}
	up.log("%s", line)
	return nil
}

func shortDigest(h v1.Hash) string { return h.Hex[:min(12, len(h.Hex))] }

// size is a number of bytes for people.
func size(n int64) string {
	const units = "kMGT"
	if n < 1000 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, i := float64(n)/1000, 0
	for v >= 1000 && i < len(units)-1 {
		v, i = v/1000, i+1
	}
	return fmt.Sprintf("%.1f %cB", v, units[i])
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
