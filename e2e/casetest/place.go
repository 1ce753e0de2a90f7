package casetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/org/deploy-model-action/e2e/localcloud"
)

// place is where one case is played: a namespace, a workspace, and what scripts need.
type place struct {
	*World
	namespace, client string
	dir, workspace    string // dir holds workspace and what a checkout does not hold
	key               string // that the steps get unless they are given another
}

func (w *World) place(ctx context.Context, c Case) (*place, error) {
	ns, err := w.kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "case-" + label(c.Name) + "-"}}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	p := &place{World: w, namespace: ns.Name, client: ns.Name}
	if p.dir, err = os.MkdirTemp("", "case"); err != nil {
		return p, err
	}
	p.workspace = filepath.Join(p.dir, "workspace")
	key, err := os.ReadFile(w.cloud.CredentialsFile)
	if err != nil {
		return p, err
	}
	p.key = string(key)
	config, err := clientcmd.LoadFromFile(w.cloud.Kubeconfig)
	if err != nil {
		return p, err
	}
	for _, c := range config.Contexts {
		c.Namespace = p.namespace
	}
	if err := clientcmd.WriteToFile(*config, filepath.Join(p.dir, "kubeconfig")); err != nil {
		return p, err
	}
	return p, write(p.workspace, c.files)
}

// write writes files into a folder, which is made.
func write(dir string, files map[string]string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// remove takes everything away; of the namespace, the cluster does it later.
func (p *place) remove() {
	_ = p.kube.CoreV1().Namespaces().Delete(context.Background(), p.namespace, metav1.DeleteOptions{})
	_ = os.RemoveAll(p.dir)
}

// label makes a name fit for a namespace, which gets a suffix.
func label(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	return strings.Trim(name[:min(len(name), 40)], "-")
}

// command is a program beside the action: in the workspace, with kubectl at the case's
// namespace, and nothing of this process's environment but its PATH. When ctx ends,
// all that it started ends with it.
func (p *place) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = p.workspace
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "KUBECONFIG=" + filepath.Join(p.dir, "kubeconfig"),
		"NAMESPACE=" + p.namespace, "REGISTRY_HOST=" + localcloud.RegistryHost, "PROJECT=" + localcloud.Project,
		"CREDENTIALS_FILE=" + p.cloud.CredentialsFile, "INPUTS=" + p.inputs(),
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// inputs is the file to which before.sh appends inputs that only it can know.
func (p *place) inputs() string { return filepath.Join(p.dir, "inputs") }

// apply is kubectl apply.
func (p *place) apply(ctx context.Context, manifest string) (string, error) {
	if err := write(p.dir, map[string]string{beforeFile: manifest}); err != nil {
		return "", err
	}
	// One after the other: cases bring the same definitions, which belong to no
	// namespace, and kubectl fails where another one is faster.
	p.applying.Lock()
	out, err := p.command(ctx, "kubectl", "apply", "-f", filepath.Join(p.dir, beforeFile)).CombinedOutput()
	p.applying.Unlock()
	if err != nil {
		return string(out), err
	}
	return string(out), p.served(ctx)
}

// served waits until every kind that is defined can be used, also by the action: the
// cluster's role covers a new group a moment later.
func (p *place) served(ctx context.Context) error {
	for {
		list, err := p.objects.Resource(definitions).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		served := true
		for _, d := range list.Items {
			group, _, _ := unstructured.NestedString(d.Object, "spec", "group")
			plural, _, _ := unstructured.NestedString(d.Object, "spec", "names", "plural")
			versions, _, _ := unstructured.NestedSlice(d.Object, "spec", "versions")
			for _, v := range versions {
				v, _ := v.(map[string]any)
				version, _ := v["name"].(string)
				if on, _ := v["served"].(bool); !on {
					continue
				}
				_, err := p.objects.Resource(schema.GroupVersionResource{Group: group, Version: version, Resource: plural}).List(ctx, metav1.ListOptions{Limit: 1})
				served = served && err == nil
			}
			served = served && p.granted(ctx, group, plural)
		}
		if served {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("its definitions are not served: %w", context.Cause(ctx))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// granted reports whether the action's account may write objects of a kind.
func (p *place) granted(ctx context.Context, group, plural string) bool {
	review, err := p.objects.Resource(reviews).Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": reviews.GroupVersion().String(), "kind": "SubjectAccessReview",
		"spec": map[string]any{
			"user":               p.cloud.ServiceAccount,
			"resourceAttributes": map[string]any{"verb": "patch", "group": group, "resource": plural, "namespace": p.namespace},
		},
	}}, metav1.CreateOptions{})
	if err != nil {
		return false
	}
	allowed, _, _ := unstructured.NestedBool(review.Object, "status", "allowed")
	return allowed
}

var reviews = schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "subjectaccessreviews"}

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// run runs a script to its end.
func (p *place) run(ctx context.Context, script string) (string, error) {
	out, err := p.command(ctx, "sh", "-eu", "-c", script).CombinedOutput()
	return string(out), err
}

// beside starts a script that may go on until it is stopped. stop says what it
// printed, and why it ended before.
func (p *place) beside(ctx context.Context, script string) (stop func() (string, error)) {
	ctx, cancel := context.WithCancel(ctx)
	var out []byte
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		out, err = p.command(ctx, "sh", "-eu", "-c", script).CombinedOutput()
	}()
	return func() (string, error) {
		stopped := false
		select {
		case <-done:
		default:
			stopped = true
		}
		cancel()
		<-done
		var exit *exec.ExitError
		if stopped && errors.As(err, &exit) {
			return string(out), nil
		}
		return string(out), err
	}
}

// missing says which program a case needs that is not there.
func (c Case) missing() string {
	if c.before != "" && !c.deploys || c.script != "" || c.controller != "" {
		if _, err := exec.LookPath("kubectl"); err != nil {
			return fmt.Sprintf("kubectl is not there: %v", err)
		}
	}
	return ""
}
