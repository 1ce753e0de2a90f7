package publish

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/org/deploy-model-action/pkg/registry"
	"github.com/org/deploy-model-action/pkg/registry/registrytest"
)

func TestPublishOutage(t *testing.T) {
	t.Parallel()
	const place = "registry.example.com/models"
	matches := only(t, place+"/x", testSHA)
	for name, during := range registrytest.Outages() {
		for _, method := range []string{"", http.MethodHead, http.MethodPost, http.MethodPatch, http.MethodPut} {
			t.Run(name+" "+method, func(t *testing.T) {
				t.Parallel()
				root := workspace(t, map[string][]byte{"image.tar": savedNew(t, registrytest.Small(t, "linux/amd64", 50_000, 70_000), false, place+"/x:latest").tar(t)})
				synctest.Test(t, func(t *testing.T) {
					started := time.Now()
					got, err := run(t.Context(), matches, request{
						Registry: registry.Options{Transport: &registrytest.Outage{Behind: registrytest.Store(), Method: method, Lasts: time.Minute, During: during}},
						Options:  Options{Prefix: prefix(t, place), From: "image.tar", Workspace: root},
					})
					if err != nil || got[0].Uploaded != 2 {
						t.Errorf("after %v: %+v, %v", time.Since(started), got, err)
					}
				})
			})
		}
	}
}
