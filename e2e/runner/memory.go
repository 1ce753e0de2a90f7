package runner

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// memory is the most that a process holds, in bytes, as it is read while the
// process runs. Its rusage would begin with what the test that started it held
// then, which with the race detector is more than the process ever does.
type memory struct {
	most int64
	stop chan struct{}
	done chan struct{}
}

func measure(pid int) *memory {
	m := &memory{stop: make(chan struct{}), done: make(chan struct{})}
	m.read(pid) // it may be over in a moment
	go func() {
		defer close(m.done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			m.read(pid)
			select {
			case <-m.stop:
				return
			case <-tick.C:
			}
		}
	}()
	return m
}

// read takes the process's own high-water mark; a process that has ended has none.
func (m *memory) read(pid int) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return
	}
	_, rest, _ := strings.Cut(string(status), "\nVmHWM:")
	var kilobytes int64
	if _, err := fmt.Sscan(rest, &kilobytes); err == nil {
		m.most = max(m.most, kilobytes<<10)
	}
}

// end returns what was read.
func (m *memory) end() int64 {
	close(m.stop)
	<-m.done
	return m.most
}
