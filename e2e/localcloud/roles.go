package localcloud

import (
	"context"
	"slices"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/org/deploy-model-action/e2e/google"
)

const developer = "gke-container-developer"

// roles keeps the cluster's RBAC in step with the project's IAM.
type roles struct {
	client *kubernetes.Clientset

	mu      sync.Mutex
	members []string
	groups  []string // of custom resources
}

// startRoles writes what roles/container.developer may do, and follows the
// CustomResourceDefinitions: the role covers objects of any group that they add.
func startRoles(ctx context.Context, config *rest.Config) (*roles, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	r := &roles{client: client}
	if err := r.write(ctx); err != nil {
		return nil, err
	}
	definitions, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	watch, err := definitions.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).
		Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	go func() {
		defer watch.Stop()
		for event := range watch.ResultChan() {
			object, ok := event.Object.(interface{ UnstructuredContent() map[string]any })
			if !ok {
				continue
			}
			spec, _ := object.UnstructuredContent()["spec"].(map[string]any)
			group, _ := spec["group"].(string)
			r.mu.Lock()
			known := group == "" || slices.Contains(r.groups, group)
			if !known {
				r.groups = append(r.groups, group)
			}
			r.mu.Unlock()
			if !known {
				_ = r.write(ctx)
			}
		}
	}()
	return r, nil
}

// set is told by IAM which roles an account has now.
func (r *roles) set(email string, have []string) {
	r.mu.Lock()
	r.members = slices.DeleteFunc(r.members, func(m string) bool { return m == email })
	if slices.Contains(have, google.RoleDeveloper) {
		r.members = append(r.members, email)
	}
	r.mu.Unlock()
	_ = r.write(context.Background())
}

// rules are roles/container.developer: read everything, write the objects of an
// application, but not who may do what, nor what the API server asks before it
// admits an object.
func (r *roles) rules() []rbacv1.PolicyRule {
	every := []string{"*"}
	rules := []rbacv1.PolicyRule{
		{APIGroups: every, Resources: every, Verbs: []string{"get", "list", "watch"}},
		{NonResourceURLs: every, Verbs: []string{"get"}},
		{APIGroups: []string{
			"apps", "batch", "autoscaling", "policy", "networking.k8s.io", "gateway.networking.k8s.io", "apiextensions.k8s.io",
			"scheduling.k8s.io", "storage.k8s.io", "discovery.k8s.io", "events.k8s.io", "node.k8s.io", "coordination.k8s.io",
		}, Resources: every, Verbs: every},
		{APIGroups: []string{""}, Resources: every, Verbs: every},
		{APIGroups: []string{"apiregistration.k8s.io"}, Resources: every, Verbs: every},
	}
	if len(r.groups) > 0 {
		rules = append(rules, rbacv1.PolicyRule{APIGroups: slices.Clone(r.groups), Resources: every, Verbs: every})
	}
	return rules
}

func (r *roles) write(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: developer}, Rules: r.rules()}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: developer},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: developer},
	}
	for _, m := range r.members {
		binding.Subjects = append(binding.Subjects, rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: m})
	}
	rbac := r.client.RbacV1()
	if _, err := rbac.ClusterRoles().Update(ctx, role, metav1.UpdateOptions{}); err != nil {
		if _, err := rbac.ClusterRoles().Create(ctx, role, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	if _, err := rbac.ClusterRoleBindings().Update(ctx, binding, metav1.UpdateOptions{}); err != nil {
		if _, err := rbac.ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}
