package google

import (
	"encoding/json"
	"net/http"
	"strings"
)

const resourceManager = "cloudresourcemanager.googleapis.com"

// ResourceManager answers for cloudresourcemanager.googleapis.com: the project's
// number and its policy, in versions 1 and 3 of the API.
func (c *Cloud) ResourceManager() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/projects/{project}", c.getProject)
	mux.HandleFunc("GET /v3/projects/{project}", c.getProject)
	for _, version := range []string{"v1", "v3"} {
		mux.HandleFunc("POST /"+version+"/projects/{call}", func(w http.ResponseWriter, r *http.Request) {
			project, call, _ := strings.Cut(r.PathValue("call"), ":")
			r.SetPathValue("project", project)
			switch call {
			case "getIamPolicy":
				c.getPolicy(w, r)
			case "setIamPolicy":
				c.setPolicy(w, r)
			case "testIamPermissions":
				c.testPermissions(w, r)
			default:
				apiError(w, http.StatusNotFound, "NOT_FOUND", "Method not found.")
			}
		})
	}
	mux.HandleFunc("/", notFound)
	return c.authenticated(mux, "")
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	apiError(w, http.StatusNotFound, "NOT_FOUND", "Method not found.")
}

// onProject checks that the project of the request exists and that the caller
// has the permission on it; Google does not tell the two apart.
func (c *Cloud) onProject(w http.ResponseWriter, r *http.Request, permission string) bool {
	project := r.PathValue("project")
	if (project == c.Project || project == c.Number) && c.HasPermission(c.caller(r), permission) {
		return true
	}
	if strings.HasPrefix(r.URL.Path, "/v1/") {
		apiError(w, http.StatusForbidden, "PERMISSION_DENIED", "The caller does not have permission")
		return false
	}
	denied(w, resourceManager, permission, "//"+resourceManager+"/projects/"+project)
	return false
}

func (c *Cloud) getProject(w http.ResponseWriter, r *http.Request) {
	if !c.onProject(w, r, permissionGetProject) {
		return
	}
	if strings.HasPrefix(r.URL.Path, "/v1/") {
		writeJSON(w, http.StatusOK, map[string]any{
			"projectNumber": c.Number, "projectId": c.Project, "lifecycleState": "ACTIVE", "name": c.Project,
			"createTime": "2026-01-12T08:00:00.000Z", "parent": map[string]string{"type": "organization", "id": "100000000001"},
		})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"name": "projects/" + c.Number, "parent": "organizations/100000000001", "projectId": c.Project, "state": "ACTIVE",
		"displayName": c.Project, "createTime": "2026-01-12T08:00:00Z", "updateTime": "2026-01-12T08:00:00Z", "etag": `W/"0123456789abcdef"`,
	})
}

func (c *Cloud) getPolicy(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		Options struct {
			Version int `json:"requestedPolicyVersion"`
		} `json:"options"`
	}
	if !readJSON(w, r, &ask) || !c.onProject(w, r, permissionGetPolicy) {
		return
	}
	writeJSON(w, http.StatusOK, c.Policy().as(ask.Options.Version))
}

func (c *Cloud) setPolicy(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		Policy     Policy `json:"policy"`
		UpdateMask string `json:"updateMask"`
	}
	if !readJSON(w, r, &ask) || !c.onProject(w, r, permissionSetPolicy) {
		return
	}
	stored, status, message := c.replace(c.projectResource(), ask.Policy)
	switch status {
	case http.StatusConflict:
		apiError(w, status, "ABORTED", message)
	case http.StatusBadRequest:
		apiError(w, status, "INVALID_ARGUMENT", message)
	default:
		c.tell()
		writeJSON(w, status, stored)
	}
}

func (c *Cloud) testPermissions(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		Permissions []string `json:"permissions"`
	}
	if !readJSON(w, r, &ask) {
		return
	}
	have := []string{}
	for _, p := range ask.Permissions {
		if c.HasPermission(c.caller(r), p) {
			have = append(have, p)
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"permissions": have})
}

// readJSON reads a body, which may be empty.
func readJSON(w http.ResponseWriter, r *http.Request, into any) bool {
	if r.ContentLength == 0 {
		return true
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(into); err != nil {
		apiError(w, http.StatusBadRequest, "INVALID_ARGUMENT", "Invalid JSON payload received. "+err.Error())
		return false
	}
	return true
}
