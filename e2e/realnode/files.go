package realnode

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
)

//go:embed start.sh
var startScript []byte

// pauseImage holds a pod's network. It is of our own, since no registry has to
// be reached for it.
const pauseImage = "local/pause:1"

const containerdConfig = `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + pauseImage + `"
  # Without CAP_SYS_RESOURCE, which a container may lack, no sandbox starts otherwise.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
`

// The machine may be short of disk for its own reasons: nothing is evicted, and
// no image is collected. Every case of a catalogue starts at once, so pulls and
// events are not rationed.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: false}
  x509: {clientCAFile: /node/ca.crt}
authorization: {mode: AlwaysAllow}
evictionHard: {memory.available: "0%", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%", imagefs.inodesFree: "0%"}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
serializeImagePulls: false
registryPullQPS: 0
eventRecordQPS: 500
eventBurst: 1000
kubeAPIQPS: 500
kubeAPIBurst: 1000
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
`

// writeFiles makes what the container mounts as /node.
func (n *Node) writeFiles(ctx context.Context, o Options, server string) error {
	kubeconfig, err := n.kubeconfig(o, server)
	if err != nil {
		return err
	}
	roots, err := os.ReadFile(o.CAFile)
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"start.sh":        startScript,
		"ca.crt":          o.ControlPlane.CA.PEM,
		"roots.crt":       roots,
		"kubeconfig":      kubeconfig,
		"containerd.toml": []byte(containerdConfig),
		"kubelet.yaml":    []byte(kubeletConfig),
	}
	if err := logins(files, o.Logins); err != nil {
		return err
	}
	for name, content := range files {
		path := filepath.Join(n.Dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o700); err != nil {
			return err
		}
	}
	return writePause(ctx, filepath.Join(n.Dir, "pause.tar"))
}

// proxyAddress gives the node its own way to the forward proxy.
func (n *Node) proxyAddress(gateway, proxy string) (string, error) {
	u, err := url.Parse(proxy)
	if err != nil {
		return "", err
	}
	address, err := n.forward(gateway, u.Host)
	if err != nil {
		return "", err
	}
	// The user is the name that the proxy's records have for the node.
	return "http://" + n.Name + "@" + address, nil
}

// kubeconfig is for the kubelet, which reaches the API server under a name that
// its certificate has, at an address that it has not.
func (n *Node) kubeconfig(o Options, server string) ([]byte, error) {
	content, err := o.ControlPlane.NodeKubeconfig("https://"+server, o.Name)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.Load(content)
	if err != nil {
		return nil, err
	}
	for _, c := range config.Clusters {
		c.TLSServerName = "kubernetes"
	}
	return clientcmd.Write(*config)
}

// logins makes one credential provider of the kubelet for each login: that is
// how nodes get theirs on GKE, and no pod needs a pull secret.
func logins(files map[string][]byte, all []Login) error {
	if len(all) == 0 {
		return nil // the kubelet wants at least one provider
	}
	type provider struct {
		Name                 string   `json:"name"`
		MatchImages          []string `json:"matchImages"`
		DefaultCacheDuration string   `json:"defaultCacheDuration"`
		APIVersion           string   `json:"apiVersion"`
	}
	providers := []provider{}
	for i, login := range all {
		name := fmt.Sprintf("login-%d", i)
		answer, err := json.Marshal(map[string]any{
			"apiVersion": "credentialprovider.kubelet.k8s.io/v1", "kind": "CredentialProviderResponse",
			"cacheKeyType": "Image", "cacheDuration": "0s",
			"auth": map[string]any{login.Images: map[string]string{"username": login.Username, "password": login.Password}},
		})
		if err != nil {
			return err
		}
		files["logins/"+name+".json"] = answer
		files["logins/"+name] = []byte("#!/bin/sh\nexec cat \"$0.json\"\n")
		providers = append(providers, provider{name, []string{login.Images}, "0s", "credentialprovider.kubelet.k8s.io/v1"})
	}
	config, err := json.Marshal(map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig", "providers": providers,
	})
	files["logins.json"] = config
	return err
}
