package google

import (
	"fmt"
	"net/http"
)

// Metadata answers as the metadata server of a machine that runs as the service
// account does; "" is a machine without one. It is reached by its address, over
// plain HTTP and through no proxy.
func (c *Cloud) Metadata(account string) http.Handler {
	mux := http.NewServeMux()
	text := func(path, value string) {
		mux.HandleFunc("GET /computeMetadata/v1/"+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/text")
			fmt.Fprint(w, value)
		})
	}
	text("{$}", "instance/\nproject/\n")
	text("project/project-id", c.Project)
	text("project/numeric-project-id", c.Number)
	if account != "" {
		const path = "instance/service-accounts/default/"
		text(path+"email", account)
		text(path+"scopes", "https://www.googleapis.com/auth/cloud-platform\nhttps://www.googleapis.com/auth/userinfo.email\n")
		mux.HandleFunc("GET /computeMetadata/v1/"+path+"token", func(w http.ResponseWriter, _ *http.Request) {
			token, lifetime := c.Issue(account)
			writeJSON(w, http.StatusOK, map[string]any{"access_token": token, "expires_in": int(lifetime.Seconds()), "token_type": "Bearer"})
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		w.Header().Set("Server", "Metadata Server for VM")
		// Neither a browser nor a proxy sets the one or leaves the other away.
		if r.Header.Get("Metadata-Flavor") != "Google" || r.Header.Get("X-Forwarded-For") != "" {
			http.Error(w, "Missing Metadata-Flavor:Google header.", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}
