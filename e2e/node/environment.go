package node

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// source reads ConfigMaps and Secrets once for one container.
type source struct {
	pod        *pod
	configMaps map[string]map[string]string
	secrets    map[string]map[string]string
}

// The kubelet's errors name the kind in lower case and in the singular.
var (
	configMapName = schema.GroupResource{Resource: "configmap"}
	secretName    = schema.GroupResource{Resource: "secret"}
)

func (s *source) configMap(ctx context.Context, name string) (map[string]string, error) {
	if data, ok := s.configMaps[name]; ok {
		return data, nil
	}
	object, err := s.pod.machine.nodes.client.CoreV1().ConfigMaps(s.pod.namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, apierrors.NewNotFound(configMapName, name)
	}
	if err != nil {
		return nil, err
	}
	data := maps.Clone(object.Data)
	if data == nil {
		data = map[string]string{}
	}
	for k, v := range object.BinaryData {
		data[k] = string(v)
	}
	s.configMaps[name] = data
	return data, nil
}

func (s *source) secret(ctx context.Context, name string) (map[string]string, error) {
	if data, ok := s.secrets[name]; ok {
		return data, nil
	}
	object, err := s.pod.machine.nodes.client.CoreV1().Secrets(s.pod.namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, apierrors.NewNotFound(secretName, name)
	}
	if err != nil {
		return nil, err
	}
	data := map[string]string{}
	for k, v := range object.Data {
		data[k] = string(v)
	}
	s.secrets[name] = data
	return data, nil
}

func newSource(p *pod) *source {
	return &source{pod: p, configMaps: map[string]map[string]string{}, secrets: map[string]map[string]string{}}
}

// environment resolves a container's variables: makeEnvironmentVariables in
// pkg/kubelet/kubelet_pods.go, whose errors these are. References to other
// variables are left as they are.
func (p *pod) environment(ctx context.Context, object *corev1.Pod, c *container) (map[string]string, error) {
	env, from := map[string]string{}, newSource(p)
	for _, e := range c.spec.EnvFrom {
		var data map[string]string
		var err error
		optional := false
		switch {
		case e.ConfigMapRef != nil:
			optional = isTrue(e.ConfigMapRef.Optional)
			data, err = from.configMap(ctx, e.ConfigMapRef.Name)
		case e.SecretRef != nil:
			optional = isTrue(e.SecretRef.Optional)
			data, err = from.secret(ctx, e.SecretRef.Name)
		}
		if err != nil && (!apierrors.IsNotFound(err) || !optional) {
			return nil, err
		}
		for k, v := range data {
			env[e.Prefix+k] = v
		}
	}
	for _, e := range c.spec.Env {
		value, ok, err := p.variable(ctx, object, from, e)
		if err != nil {
			return nil, err
		}
		if ok {
			env[e.Name] = value
		}
	}
	return env, nil
}

func (p *pod) variable(ctx context.Context, object *corev1.Pod, from *source, e corev1.EnvVar) (value string, ok bool, err error) {
	if e.Value != "" || e.ValueFrom == nil {
		return e.Value, true, nil
	}
	var data map[string]string
	var key, kind, name string
	var optional bool
	switch {
	case e.ValueFrom.ConfigMapKeyRef != nil:
		r := e.ValueFrom.ConfigMapKeyRef
		key, kind, name, optional = r.Key, "ConfigMap", r.Name, isTrue(r.Optional)
		data, err = from.configMap(ctx, name)
	case e.ValueFrom.SecretKeyRef != nil:
		r := e.ValueFrom.SecretKeyRef
		key, kind, name, optional = r.Key, "Secret", r.Name, isTrue(r.Optional)
		data, err = from.secret(ctx, name)
	case e.ValueFrom.FieldRef != nil:
		return p.field(object, e.ValueFrom.FieldRef.FieldPath), true, nil
	default:
		return "", true, nil
	}
	if err != nil {
		if apierrors.IsNotFound(err) && optional {
			return "", false, nil
		}
		return "", false, err
	}
	value, ok = data[key]
	if !ok && !optional {
		return "", false, fmt.Errorf("couldn't find key %v in %s %v/%v", key, kind, p.namespace, name)
	}
	return value, ok, nil
}

func (p *pod) field(object *corev1.Pod, path string) string {
	switch path {
	case "metadata.name":
		return p.name
	case "metadata.namespace":
		return p.namespace
	case "metadata.uid":
		return string(p.uid)
	case "spec.nodeName":
		return p.machine.name
	case "spec.serviceAccountName":
		return object.Spec.ServiceAccountName
	case "status.hostIP":
		return p.machine.address
	case "status.podIP":
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.address
	}
	return ""
}

// verifyUser is the kubelet's check of runAsNonRoot: pkg/kubelet/kuberuntime/security_context_others.go.
func (c *container) verifyUser(object *corev1.Pod, image Image, env map[string]string) error {
	var nonRoot *bool
	var user *int64
	if s := object.Spec.SecurityContext; s != nil {
		nonRoot, user = s.RunAsNonRoot, s.RunAsUser
	}
	if s := c.spec.SecurityContext; s != nil {
		if s.RunAsNonRoot != nil {
			nonRoot = s.RunAsNonRoot
		}
		if s.RunAsUser != nil {
			user = s.RunAsUser
		}
	}
	if !isTrue(nonRoot) {
		return nil
	}
	who := fmt.Sprintf("%s_%s(%s)", c.pod.name, c.pod.namespace, c.pod.uid)
	if user != nil {
		if *user == 0 {
			return fmt.Errorf("container's runAsUser breaks non-root policy (pod: %q, container: %s)", who, c.spec.Name)
		}
		return nil
	}
	switch said := words(image.Labels, env)("user"); said {
	case "root", "0":
		return fmt.Errorf("container has runAsNonRoot and image will run as root (pod: %q, container: %s)", who, c.spec.Name)
	}
	return nil
}

func isTrue(b *bool) bool { return b != nil && *b }
