package object

import (
	"testing"
	"time"

	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

func TestFieldManagerOf(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		managed string
		want    string
		at      time.Time
	}{
		"nobody":                {managed: `[]`},
		"nobody of that field":  {managed: `[{manager: a, fieldsV1: {"f:spec": {"f:replicas": {}}}}]`},
		"one":                   {managed: `[{manager: a, time: "2000-01-01T00:00:07Z", fieldsV1: {"f:spec": {"f:paused": {}}}}]`, want: "a", at: objecttest.Start().Add(7 * time.Second)},
		"the newest of several": {managed: `[{manager: a, time: "2000-01-01T00:00:07Z", fieldsV1: {"f:spec": {"f:paused": {}}}}, {manager: b, time: "2000-01-01T00:00:09Z", fieldsV1: {"f:spec": {"f:paused": {}}}}, {manager: c, time: "2000-01-01T00:00:08Z", fieldsV1: {"f:spec": {"f:paused": {}}}}]`, want: "b", at: objecttest.Start().Add(9 * time.Second)},
		"one without a time":    {managed: `[{manager: a, fieldsV1: {"f:spec": {"f:paused": {}}}}]`, want: "a"},
		"a field below it":      {managed: `[{manager: a, fieldsV1: {"f:spec": {"f:other": {"f:paused": {}}}}}]`},
		"what is no fields":     {managed: `[{manager: a}, {manager: b, fieldsV1: {"f:spec": 1}}]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := objecttest.FromYAML(t, `{apiVersion: v1, kind: A, metadata: {name: a, managedFields: `+tt.managed+`}}`)
			if got, at := FieldManagerOf(u, "spec", "paused"); got != tt.want || !at.Equal(tt.at) {
				t.Errorf("%q at %s, want %q at %s", got, at, tt.want, tt.at)
			}
		})
	}
}
