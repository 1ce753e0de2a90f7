package google

import (
	"encoding/json"
	"net/http"
)

// TokenReview answers the API server's question whose token it is, as GKE's
// authenticator does: the user's name is an e-mail address, or principal://….
func (c *Cloud) TokenReview() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Spec       struct {
				Token string `json:"token"`
			} `json:"spec"`
		}
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		status := map[string]any{"authenticated": false}
		if t, ok := c.Lookup(review.Spec.Token); ok {
			status = map[string]any{"authenticated": true, "user": map[string]any{
				"username": t.Principal, "uid": c.id(t.Principal), "groups": []string{"system:authenticated"},
			}}
		}
		writeJSON(w, http.StatusOK, map[string]any{"apiVersion": review.APIVersion, "kind": review.Kind, "status": status})
	})
}
