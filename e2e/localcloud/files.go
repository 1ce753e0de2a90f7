package localcloud

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/org/deploy-model-action/e2e/github"
)

// systemRoots is the bundle that real hosts need, for clients that talk to both.
const systemRoots = "/etc/ssl/certs/ca-certificates.crt"

// Info is localcloud.json: all that a client needs to know.
type Info struct {
	ProjectID       string `json:"project_id"`
	ProjectNumber   string `json:"project_number"`
	Location        string `json:"location"`
	ClusterName     string `json:"cluster_name"`
	RegistryHost    string `json:"registry_host"`
	ProxyURL        string `json:"proxy_url"`
	CAFile          string `json:"ca_file"`
	CredentialsFile string `json:"credentials_file"`
	Kubeconfig      string `json:"kubeconfig"`
	RequestsFile    string `json:"requests_file"`
	ServiceAccount  string `json:"service_account"`
}

// Info describes the cloud.
func (c *Cloud) Info() Info {
	return Info{
		ProjectID: Project, ProjectNumber: ProjectNumber, Location: Location, ClusterName: Cluster, RegistryHost: RegistryHost,
		ProxyURL: c.Proxy.URL, CAFile: c.CAFile, CredentialsFile: c.CredentialsFile,
		Kubeconfig: c.Kubeconfig, RequestsFile: c.RequestsFile, ServiceAccount: c.ServiceAccount,
	}
}

// Env is the environment that puts a program into the cloud. client, if not
// empty, is the name that requests.jsonl has for it.
func (c *Cloud) Env(client string) map[string]string {
	address := c.Proxy.URL
	if client != "" {
		address = "http://" + client + "@" + address[len("http://"):]
	}
	return map[string]string{
		"HTTPS_PROXY": address, "HTTP_PROXY": address, "https_proxy": address, "http_proxy": address,
		"NO_PROXY": "localhost,127.0.0.1", "no_proxy": "localhost,127.0.0.1",
		"SSL_CERT_FILE": c.CAFile,
	}
}

func (c *Cloud) writeFiles(key []byte) error {
	roots := c.ca.PEM
	if system, err := os.ReadFile(systemRoots); err == nil {
		roots = append(append([]byte{}, roots...), system...)
	}
	kubeconfig, err := os.ReadFile(c.ControlPlane.Kubeconfig)
	if err != nil {
		return err
	}
	info, err := json.MarshalIndent(c.Info(), "", "  ")
	if err != nil {
		return err
	}
	var env []byte
	for _, name := range []string{"HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE"} {
		env = fmt.Appendf(env, "export %s=%q\n", name, c.Env("")[name])
	}
	for _, f := range []struct {
		path    string
		content []byte
	}{
		{c.CAFile, roots},
		{c.CredentialsFile, key},
		{c.Kubeconfig, kubeconfig},
		{filepath.Join(c.Dir, "env"), env},
		{filepath.Join(c.Dir, "localcloud.json"), append(info, '\n')}, // last: whoever waits for it finds the rest
	} {
		if err := os.WriteFile(f.path, f.content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// jobs makes a job that may ask for identity tokens: POST {"Repository": …}, or
// {} for the default, answers the environment that the runner gives it.
func (c *Cloud) jobs() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var job github.Job
		if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&job); err != nil || r.Method != http.MethodPost {
			http.Error(w, `POST {"Repository": "…", "Ref": "…", "Environment": "…"}`, http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(c.GitHub.Env(job))
	})
}

// serviceAccounts makes an account: POST {"name": …, "roles": […]} answers its key.
func (c *Cloud) serviceAccounts() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var ask struct {
			Name  string   `json:"name"`
			Roles []string `json:"roles"`
		}
		if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&ask); err != nil || ask.Name == "" || r.Method != http.MethodPost {
			http.Error(w, `POST {"name": "…", "roles": ["roles/…"]}`, http.StatusBadRequest)
			return
		}
		_, key, err := c.Google.CreateServiceAccount(ask.Name, ask.Roles...)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(key)
	})
}
