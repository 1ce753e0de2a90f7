package outage_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/proxy"
)

// hosts are who a deploy talks to.
var hosts = map[string]string{
	"oauth2": "oauth2.googleapis.com", "container": "container.googleapis.com", "registry": localcloud.Registry, "API server": "192.0.2.10",
}

// outage is a host that is down from a request on.
type outage struct {
	host, kind, phase string
}

func (o outage) String() string { return o.host + "/" + o.kind + "/" + o.phase }

// begins reports whether the outage begins with a request.
func (o outage) begins() func(proxy.Request) bool {
	rollback, apply := cloudtest.AtRollback(), cloudtest.AtApply()
	return func(r proxy.Request) bool {
		switch o.phase {
		case "before the first answer":
			return r.Host == hosts[o.host]
		case "check":
			return r.Dry()
		case "apply":
			return apply(r)
		case "rollout":
			return r.Watches()
		}
		return rollback(r)
	}
}

var (
	kinds  = map[string]proxy.Fault{"503": {Status: 503, Body: "the test says no"}, "resets": {ResetBefore: true}}
	phases = []string{"before the first answer", "check", "apply", "rollout", "rollback"}
)

// TestOutage takes each host away for a minute.
func TestOutage(t *testing.T) {
	t.Parallel()
	all := []outage{
		{"API server", "503", "apply"}, {"container", "resets", "before the first answer"}, {"API server", "resets", "rollback"},
	}
	long := 6 * time.Second
	if cloudtest.Campaign() {
		all, long = nil, time.Minute
		for host := range hosts {
			for kind := range kinds {
				for _, phase := range phases {
					all = append(all, outage{host, kind, phase})
				}
			}
		}
	}
	var lost atomic.Int64
	t.Cleanup(func() {
		cloudtest.Figure(t, "outages of %s: %d of %d deploys lost", long, lost.Load(), len(all))
	})
	for _, o := range all {
		t.Run(o.String(), func(t *testing.T) {
			t.Parallel()
			back := o.phase == "rollback"
			x := deployed(t, back)
			y := x.At("run", x.SHA(1))
			fault, begins := kinds[o.kind], o.begins()
			fault.Client, fault.Host = y.Client, hosts[o.host]
			var once sync.Once
			var mu sync.Mutex
			x.Cloud.Proxy.SetHook(y.Client, proxy.Hook{Before: func(r proxy.Request) bool {
				mu.Lock()
				now := begins(r)
				mu.Unlock()
				if now {
					once.Do(func() { time.AfterFunc(long, x.Cloud.Proxy.Faults.Add(fault)) })
				}
				return true
			}})
			r := y.Deploy(x.SHA(1), nil)
			began := true
			once.Do(func() { began = false })
			if !began {
				t.Error("the outage never began")
			}
			want, serves := "deployed", 1
			if back {
				want, serves = "rolled-back", 0
			}
			if r.Outputs["outcome"] != want {
				lost.Add(1)
				t.Errorf("outcome %s, want %s", r.Outputs["outcome"], want)
			}
			if !x.WantServes(x.SHA(serves)) && r.Outputs["outcome"] == want {
				lost.Add(1)
			}
			x.NothingIsOpen()
		})
	}
}
