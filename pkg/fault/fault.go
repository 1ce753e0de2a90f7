// Package fault brings a panic of any goroutine of this program to the one that
// runs the whole, which can say what happened and with which exit code it ends:
// Go's runtime would end the process with 2, which says that an input was wrong.
//
// Every goroutine that the program starts defers Catch. Those of libraries do not,
// nor can a fatal error of the runtime, such as a map that two goroutines write or
// memory that is used up, be caught by anybody: they still end the process with 2.
package fault

import (
	"context"
	"fmt"
	"runtime/debug"
)

// Panic is what a goroutine panicked with, and where.
type Panic struct {
	Value any
	Stack []byte
}

// Error names the kind of the value only: its words may hold anything.
func (p *Panic) Error() string { return fmt.Sprintf("panic of a goroutine: %T", p.Value) }

type key struct{}

// Run calls f with a context for the goroutines that it starts. As soon as one of
// them panics, or f itself, so does Run, with a *Panic; what goes on meanwhile is
// cancelled, and not waited for.
func Run(ctx context.Context, f func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	panics, ended := make(chan *Panic, 1), make(chan struct{})
	ctx = context.WithValue(ctx, key{}, panics)
	go func() {
		defer close(ended)
		defer Catch(ctx)
		f(ctx)
	}()
	select {
	case p := <-panics:
		panic(p)
	case <-ended:
	}
	select { // it may have come with the end
	case p := <-panics:
		panic(p)
	default:
	}
}

// Catch is what a goroutine defers, after all else that it defers: it hands a panic
// on to Run and stays, so that nobody who waits for the goroutine takes it for one
// that has ended well. Without Run above it, it panics anew.
func Catch(ctx context.Context) {
	value := recover()
	if value == nil {
		return
	}
	panics, ok := ctx.Value(key{}).(chan *Panic)
	if !ok {
		panic(value)
	}
	select {
	case panics <- &Panic{Value: value, Stack: debug.Stack()}:
	default: // one is enough
	}
	select {}
}

// Go starts a goroutine that defers Catch.
func Go(ctx context.Context, f func()) { go Func(ctx, f)() }

// Func is f with Catch deferred, for a group of goroutines.
func Func(ctx context.Context, f func()) func() {
	return func() {
		defer Catch(ctx)
		f()
	}
}
