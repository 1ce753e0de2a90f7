package catalogue_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/e2e/cloudtest"
)

// quota leaves no room for one pod more.
func quota(x *cloudtest.Test) func() {
	x.Helper()
	quotas := x.Kube.CoreV1().ResourceQuotas(x.Namespace)
	_, err := quotas.Create(x.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "team"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("3")}},
	}, metav1.CreateOptions{})
	if err != nil {
		x.Fatal(err)
	}
	return func() {
		if err := quotas.Delete(x.Context(), "team", metav1.DeleteOptions{}); err != nil {
			x.Fatal(err)
		}
	}
}

// podSecurity lets no pod in that says nothing of its privileges.
func podSecurity(x *cloudtest.Test) func() {
	x.Helper()
	label := func(value string) {
		patch := `{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":` + value + `}}}`
		if _, err := x.Kube.CoreV1().Namespaces().Patch(x.Context(), x.Namespace, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			x.Fatal(err)
		}
	}
	label(`"restricted"`)
	return func() { label("null") }
}

// deleteLast deletes the pod on which a StatefulSet is stuck.
func deleteLast(x *cloudtest.Test) {
	x.Helper()
	if err := x.Kube.CoreV1().Pods(x.Namespace).Delete(x.Context(), "model-2", metav1.DeleteOptions{}); err != nil {
		x.Fatal(err)
	}
}

// webhook has someone else refuse the pods.
func webhook(x *cloudtest.Test) func() {
	x.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{
			UID: review.Request.UID, Result: &metav1.Status{Message: "images must be signed by the release team"},
		}
		_ = json.NewEncoder(w).Encode(review)
	}))
	none, all := admissionregistrationv1.SideEffectClassNone, admissionregistrationv1.NamespacedScope
	configurations := x.Kube.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	_, err := configurations.Create(x.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: x.Namespace},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "signatures.policy.example.com", SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
			ClientConfig: admissionregistrationv1.WebhookClientConfig{
				URL: &server.URL, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
			},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: x.Namespace}},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}, Scope: &all},
			}},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		x.Fatal(err)
	}
	remove := func() {
		_ = configurations.Delete(context.WithoutCancel(x.Context()), x.Namespace, metav1.DeleteOptions{})
		server.Close()
	}
	x.Cleanup(remove)
	return remove
}
