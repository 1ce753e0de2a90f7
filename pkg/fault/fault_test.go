package fault

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// caught runs f and returns what Run panicked with; nil if it returned.
func caught(t *testing.T, f func(context.Context)) (p *Panic) {
	t.Helper()
	defer func() {
		if value := recover(); value != nil {
			p = value.(*Panic)
		}
	}()
	Run(t.Context(), f)
	return nil
}

func TestRun(t *testing.T) {
	t.Parallel()
	wrong := errors.New("wrong")
	for name, f := range map[string]func(context.Context){
		"f itself":    func(context.Context) { panic(wrong) },
		"a goroutine": func(ctx context.Context) { Go(ctx, func() { panic(wrong) }); <-ctx.Done() },
		"one that is waited for": func(ctx context.Context) {
			var group sync.WaitGroup
			group.Go(func() {
				defer Catch(ctx)
				panic(wrong)
			})
			group.Wait()
			t.Error("it was taken for one that has ended well")
		},
		"one of many, another of which waits for it": func(ctx context.Context) {
			result := make(chan int)
			for range 3 {
				Go(ctx, func() { <-result })
			}
			Go(ctx, func() { panic(wrong) })
			<-result
		},
		"one of another context": func(ctx context.Context) {
			other, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Hour)
			defer cancel()
			Go(other, func() { panic(wrong) })
			<-other.Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := caught(t, f)
			if p == nil || p.Value != any(wrong) || !strings.Contains(string(p.Stack), "fault_test.go") {
				t.Errorf("%v", p)
			}
		})
	}
}

func TestNoPanic(t *testing.T) {
	t.Parallel()
	done := false
	if p := caught(t, func(ctx context.Context) { Go(ctx, func() {}); done = true }); p != nil || !done {
		t.Errorf("%v, done %v", p, done)
	}
}

// TestWithout panics anew where nobody runs the whole, as in a test of a package.
func TestWithout(t *testing.T) {
	t.Parallel()
	defer func() {
		if value := recover(); value != "x" {
			t.Errorf("%v", value)
		}
	}()
	defer Catch(t.Context())
	panic("x")
}
