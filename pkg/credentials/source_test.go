package credentials

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func testSource(fetch func() (grant, error)) (*source, *[]string) {
	var masked []string
	return &source{fetch: fetch, beside: func(f func()) { go f() }, mask: func(s string) { masked = append(masked, s) }}, &masked
}

// TestFiftyExpiries lives through two hours of the short-lived tokens of a test
// and of Google's: the token in hand is always good, and each was masked.
func TestFiftyExpiries(t *testing.T) {
	t.Parallel()
	for lifetime, spare := range map[time.Duration]time.Duration{20 * time.Second: 5 * time.Second, time.Hour: 5 * time.Minute, 2 * time.Second: 500 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			var fetched atomic.Int32
			s, masked := testSource(func() (grant, error) {
				return grant{token: fmt.Sprint("token-", fetched.Add(1)), lifetime: lifetime, sent: time.Now()}, nil
			})
			step := lifetime / 40
			issued := map[string]time.Time{}
			for fetched.Load() <= 50 {
				token, err := s.Token()
				if err != nil {
					t.Fatal(err)
				}
				if _, seen := issued[token.AccessToken]; !seen {
					issued[token.AccessToken] = time.Now()
				}
				if age := time.Since(issued[token.AccessToken]); age > lifetime-spare+step {
					t.Fatalf("lifetime %v: a token of age %v was handed out", lifetime, age)
				}
				time.Sleep(step)
				synctest.Wait()
			}
			n := int(fetched.Load())
			if len(*masked) != n || (*masked)[n-1] != fmt.Sprint("token-", n) {
				t.Errorf("%d tokens, %d masked", n, len(*masked))
			}
		})
	}
}

// TestOneRequest asks once for many callers, and hands the same answer to all.
func TestOneRequest(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{"granted": nil, "refused": errors.New("refused")} {
		synctest.Test(t, func(t *testing.T) {
			var fetched atomic.Int32
			s, _ := testSource(func() (grant, error) {
				fetched.Add(1)
				time.Sleep(time.Second)
				return grant{token: "t", lifetime: time.Hour, sent: time.Now()}, err
			})
			var all sync.WaitGroup
			for range 32 {
				all.Go(func() {
					if _, got := s.Token(); !errors.Is(got, err) {
						t.Errorf("%s: error = %v", name, got)
					}
				})
			}
			all.Wait()
			if fetched.Load() != 1 {
				t.Errorf("%s: asked %d times", name, fetched.Load())
			}
		})
	}
}

// TestRefreshRefused uses the old token to its end when no new one can be had,
// and does not ask at every call.
func TestRefreshRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var fetched atomic.Int32
		s, _ := testSource(func() (grant, error) {
			if fetched.Add(1) > 1 {
				return grant{}, errors.New("key deleted")
			}
			return grant{token: "t", lifetime: time.Hour, sent: time.Now()}, nil
		})
		until := time.Now().Add(time.Hour)
		for time.Now().Before(until.Add(-time.Second)) {
			if _, err := s.Token(); err != nil {
				t.Fatalf("%v before its end: %v", time.Until(until), err)
			}
			time.Sleep(time.Second)
		}
		if n := fetched.Load(); n > 25 {
			t.Errorf("asked %d times", n)
		}
		time.Sleep(2 * time.Second)
		if _, err := s.Token(); err == nil {
			t.Error("a token was handed out after its end")
		}
	})
}

// TestRefreshHeldUp lets nobody wait for a successor while the token is good.
func TestRefreshHeldUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var fetched atomic.Int32
		s, _ := testSource(func() (grant, error) {
			n := fetched.Add(1)
			if n > 1 {
				time.Sleep(2 * time.Minute) // an outage
			}
			return grant{token: fmt.Sprint("token-", n), lifetime: time.Hour, sent: time.Now()}, nil
		})
		for started := time.Now(); time.Since(started) < 2*time.Hour; time.Sleep(10 * time.Second) {
			asked := time.Now()
			if _, err := s.Token(); err != nil || time.Since(asked) != 0 {
				t.Fatalf("after %v: %v, and %v were waited", asked.Sub(started), err, time.Since(asked))
			}
		}
		if n := fetched.Load(); n != 3 {
			t.Errorf("asked %d times in two hours", n)
		}
	})
}

// TestForget replaces the token that was refused, and no newer one.
func TestForget(t *testing.T) {
	t.Parallel()
	fetched := 0
	s, _ := testSource(func() (grant, error) {
		fetched++
		return grant{token: fmt.Sprint("token-", fetched), lifetime: time.Hour, sent: time.Now()}, nil
	})
	for _, step := range []struct{ forget, want string }{{"", "token-1"}, {"other", "token-1"}, {"token-1", "token-2"}, {"token-1", "token-2"}} {
		s.Forget(step.forget)
		if got, err := s.Token(); err != nil || got.AccessToken != step.want {
			t.Errorf("after Forget(%q): %v, %v, want %s", step.forget, got, err, step.want)
		}
	}
}
