package google

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// apiError is the error body of Google's JSON APIs.
func apiError(w http.ResponseWriter, status int, code, message string, details ...map[string]any) {
	writeJSON(w, status, errorBody(status, code, message, details...))
}

func errorBody(status int, code, message string, details ...map[string]any) map[string]any {
	body := map[string]any{"code": status, "message": message, "status": code}
	if len(details) > 0 {
		body["details"] = details
	} else {
		body["errors"] = []map[string]string{{"message": message, "domain": "global", "reason": reason(status)}}
	}
	return map[string]any{"error": body}
}

func reason(status int) string {
	switch status {
	case http.StatusNotFound:
		return "notFound"
	case http.StatusForbidden:
		return "forbidden"
	case http.StatusUnauthorized:
		return "unauthorized"
	case http.StatusConflict:
		return "aborted"
	}
	return "badRequest"
}

// denied is the refusal of the newer APIs, whose details name the permission.
func denied(w http.ResponseWriter, domain, permission, resource string) {
	on := "resource"
	metadata := map[string]string{"permission": permission}
	if resource != "" {
		on = "resource '" + resource + "'"
		metadata["resource"] = resource
	}
	apiError(w, http.StatusForbidden, "PERMISSION_DENIED", fmt.Sprintf("Permission '%s' denied on %s (or it may not exist).", permission, on), map[string]any{
		"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "IAM_PERMISSION_DENIED", "domain": domain, "metadata": metadata,
	})
}

// DisabledBody is the body of the 403 with which every API of Google answers in a
// project that has not enabled it, for a fault of the proxy.
func DisabledBody(service, title, number string) string {
	link := fmt.Sprintf("https://console.developers.google.com/apis/api/%s/overview?project=%s", service, number)
	message := fmt.Sprintf("%s has not been used in project %s before or it is disabled. Enable it by visiting %s then retry. "+
		"If you enabled this API recently, wait a few minutes for the action to propagate to our systems and retry.", title, number, link)
	body, _ := json.Marshal(errorBody(http.StatusForbidden, "PERMISSION_DENIED", message, map[string]any{ // of strings only
		"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED", "domain": "googleapis.com",
		"metadata": map[string]string{"service": service, "serviceTitle": title, "consumer": "projects/" + number, "containerInfo": number, "activationUrl": link},
	}))
	return string(body)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(body)
}
