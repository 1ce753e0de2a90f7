package kube_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/kube/kubetest"
)

// pages answers a list of n pods page by page.
func pages(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
		limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
		if err != nil {
			limit = n
		}
		to, rest := min(from+limit, n), ""
		if to < n {
			rest = strconv.Itoa(to)
		}
		var items []string
		for i := from; i < to; i++ {
			items = append(items, fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p-%d","namespace":"models"}}`, i))
		}
		fmt.Fprintf(w, `{"apiVersion":"v1","kind":"PodList","metadata":{"resourceVersion":"7","continue":%q},"items":[%s]}`, rest, strings.Join(items, ","))
	}
}

func TestListReadsPageByPage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		pods     int
		limit    int64
		want     int
		requests int
		err      string
	}{
		{"one page", 500, 0, 500, 1, ""},
		{"several", 1201, 0, 1201, 3, ""},
		{"none", 0, 0, 0, 1, ""},
		{"a limit is the caller's", 1201, 100, 100, 1, ""},
		{"no end", 1 << 30, 0, 0, 40, "there are more than 20000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := kubetest.Serve(t, pages(tt.pods))
			list, err := s.Client.List(t.Context(), kube.Selection{Resource: kube.Pods, Namespace: "models", Limit: tt.limit})
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("%v, want %q", err, tt.err)
				}
			} else if err != nil || len(list.Items) != tt.want || list.GetResourceVersion() != "7" {
				t.Errorf("%v, want %d pods", err, tt.want)
			}
			if n := len(s.Requests()); n != tt.requests {
				t.Errorf("%d requests, want %d", n, tt.requests)
			}
		})
	}
}
