package node_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestMissingConfig(t *testing.T) {
	t.Parallel()
	x := newTest(t)
	image := x.push("1", nil)
	for _, err := range []error{
		second(k().CoreV1().ConfigMaps(x.namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "there"}, Data: map[string]string{"body": "from a ConfigMap"}}, metav1.CreateOptions{})),
		second(k().CoreV1().Secrets(x.namespace).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "there"}, StringData: map[string]string{"token": "x"}}, metav1.CreateOptions{})),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	nonRoot := true
	for name, c := range map[string]struct {
		change func(*corev1.Container)
		want   string
	}{
		"ConfigMap": {func(c *corev1.Container) {
			c.EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}}
		}, `configmap "settings" not found`},
		"Secret": {func(c *corev1.Container) { c.Env = []corev1.EnvVar{fromSecret("TOKEN", "credentials", "token")} }, `secret "credentials" not found`},
		"key of a ConfigMap": {func(c *corev1.Container) {
			c.Env = []corev1.EnvVar{{Name: "BODY", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "there"}, Key: "size"}}}}
		}, `couldn't find key size in ConfigMap NAMESPACE/there`},
		"key of a Secret": {func(c *corev1.Container) { c.Env = []corev1.EnvVar{fromSecret("TOKEN", "there", "key")} }, `couldn't find key key in Secret NAMESPACE/there`},
		"root": {func(c *corev1.Container) {
			c.SecurityContext = &corev1.SecurityContext{RunAsNonRoot: &nonRoot}
			c.Env = []corev1.EnvVar{{Name: "MODEL_USER", Value: "root"}}
		}, `container has runAsNonRoot and image will run as root (pod: "POD_NAMESPACE(UID)", container: model)`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := &test{T: t, namespace: x.namespace}
			spec := model(image)
			c.change(&spec)
			pod := x.pod(corev1.PodSpec{Containers: []corev1.Container{spec}})
			p := x.until(pod, waiting("CreateContainerConfigError"))
			want := strings.NewReplacer("NAMESPACE", x.namespace, "POD", pod, "UID", string(p.UID)).Replace(c.want)
			if got := p.Status.ContainerStatuses[0].State.Waiting.Message; got != want {
				t.Errorf("says %q, want %q", got, want)
			}
			x.wantEvent(pod, "Failed Error: "+want)
		})
	}
}

func TestMissingVolume(t *testing.T) {
	t.Parallel()
	x := newTest(t)
	image := x.push("1", nil)
	if _, err := k().CoreV1().ConfigMaps(x.namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "there"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		source corev1.VolumeSource
		want   string
	}{
		"ConfigMap": {corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}, `configmap "settings" not found`},
		"Secret":    {corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "credentials"}}, `secret "credentials" not found`},
		"key": {corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: "there"}, Items: []corev1.KeyToPath{{Key: "labels.txt", Path: "labels.txt"}},
		}}, `configmap references non-existent config key: labels.txt`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := &test{T: t, namespace: x.namespace}
			spec := model(image)
			spec.VolumeMounts = []corev1.VolumeMount{{Name: "files", MountPath: "/files", ReadOnly: true}}
			pod := x.pod(corev1.PodSpec{Containers: []corev1.Container{spec}, Volumes: []corev1.Volume{{Name: "files", VolumeSource: c.source}}})
			x.wantEvent(pod, `FailedMount MountVolume.SetUp failed for volume "files" : `+c.want)
			p := x.until(pod, waiting("ContainerCreating"))
			if p.Status.Phase != corev1.PodPending || p.Status.PodIP != "" {
				t.Errorf("phase %s, address %q", p.Status.Phase, p.Status.PodIP)
			}
		})
	}
}

func TestEnvironmentOverridesLabels(t *testing.T) {
	t.Parallel()
	x := newTest(t)
	if _, err := k().CoreV1().Secrets(x.namespace).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "model"}, StringData: map[string]string{"code": "7"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	spec := model(x.push("1", labels("exit-code", "3")))
	spec.Env = []corev1.EnvVar{fromSecret("MODEL_EXIT_CODE", "model", "code")}
	pod := x.pod(corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{spec}})
	p := x.until(pod, func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed })
	if over := p.Status.ContainerStatuses[0].State.Terminated; over == nil || over.ExitCode != 7 {
		t.Errorf("state %+v", p.Status.ContainerStatuses[0].State)
	}
}

func fromSecret(name, secret, key string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Key: key}}}
}

func second[T any](_ T, err error) error { return err }
