package objecttest

import (
	"runtime/metrics"
	"time"
)

// WatchHeap watches this process' heap. The function that it returns ends that, and
// says the most that there was, in bytes, garbage included.
func WatchHeap() func() uint64 {
	done, most := make(chan struct{}), make(chan uint64)
	go func() {
		n, sample := uint64(0), []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		for {
			metrics.Read(sample)
			n = max(n, sample[0].Value.Uint64())
			select {
			case <-done:
				most <- n
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() uint64 { close(done); return <-most }
}
