package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Resource is where objects of a kind are found.
type Resource struct {
	schema.GroupVersionResource
	Namespaced bool
}

// builtinGroup lists what k8s.io/api (and the two API groups beside it) can
// apply. Whether this cluster serves a version is the cluster's to say; scope
// and plural of a kind are the same in all versions.
type builtinGroup struct {
	versions   string
	namespaced string
	cluster    string
}

// builtinGroups returns the table. Asking the cluster instead (discovery) would
// cost two round trips and a large body for what has not changed in years, and
// the package that does it links all of k8s.io/api: 12 MB.
func builtinGroups(group string) builtinGroup {
	switch group {
	case "":
		return builtinGroup{
			"v1",
			"ConfigMap Endpoints Event LimitRange PersistentVolumeClaim Pod PodTemplate ReplicationController ResourceQuota Secret Service ServiceAccount",
			"Namespace Node PersistentVolume",
		}
	case "admissionregistration.k8s.io":
		return builtinGroup{
			"v1 v1beta1 v1alpha1", "",
			"MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration",
		}
	case "apiextensions.k8s.io":
		return builtinGroup{"v1 v1beta1", "", "CustomResourceDefinition"}
	case "apiregistration.k8s.io":
		return builtinGroup{"v1 v1beta1", "", "APIService"}
	case "apps":
		return builtinGroup{"v1 v1beta2 v1beta1", "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet", ""}
	case "autoscaling":
		return builtinGroup{"v2 v1 v2beta2 v2beta1", "HorizontalPodAutoscaler", ""}
	case "batch":
		return builtinGroup{"v1 v1beta1", "CronJob Job", ""}
	case "certificates.k8s.io":
		return builtinGroup{"v1 v1beta1 v1alpha1", "PodCertificateRequest", "CertificateSigningRequest ClusterTrustBundle"}
	case "coordination.k8s.io":
		return builtinGroup{"v1 v1beta1 v1alpha2", "Lease LeaseCandidate", ""}
	case "discovery.k8s.io":
		return builtinGroup{"v1 v1beta1", "EndpointSlice", ""}
	case "events.k8s.io":
		return builtinGroup{"v1 v1beta1", "Event", ""}
	case "extensions":
		return builtinGroup{"v1beta1", "DaemonSet Deployment Ingress NetworkPolicy ReplicaSet", ""}
	case "flowcontrol.apiserver.k8s.io":
		return builtinGroup{"v1 v1beta3 v1beta2 v1beta1", "", "FlowSchema PriorityLevelConfiguration"}
	case "internal.apiserver.k8s.io":
		return builtinGroup{"v1alpha1", "", "StorageVersion"}
	case "lifecycle.k8s.io":
		return builtinGroup{"v1alpha1", "Eviction EvictionRequest", ""}
	case "networking.k8s.io":
		return builtinGroup{"v1 v1beta1", "Ingress NetworkPolicy", "IPAddress IngressClass ServiceCIDR"}
	case "node.k8s.io":
		return builtinGroup{"v1 v1beta1 v1alpha1", "", "RuntimeClass"}
	case "policy":
		return builtinGroup{"v1 v1beta1", "PodDisruptionBudget", ""}
	case "rbac.authorization.k8s.io":
		return builtinGroup{"v1 v1beta1 v1alpha1", "Role RoleBinding", "ClusterRole ClusterRoleBinding"}
	case "resource.k8s.io":
		return builtinGroup{
			"v1 v1beta2 v1beta1 v1alpha3",
			"ResourceClaim ResourceClaimTemplate",
			"DeviceClass DeviceTaintRule ResourcePoolStatusRequest ResourceSlice",
		}
	case "scheduling.k8s.io":
		return builtinGroup{"v1 v1beta1 v1alpha3", "CompositePodGroup PodGroup Workload", "PriorityClass"}
	case "storage.k8s.io":
		return builtinGroup{"v1 v1beta1 v1alpha1", "CSIStorageCapacity", "CSIDriver CSINode StorageClass VolumeAttachment VolumeAttributesClass"}
	case "storagemigration.k8s.io":
		return builtinGroup{"v1 v1beta1", "", "StorageVersionMigration"}
	}
	return builtinGroup{}
}

// builtin looks a kind up in the table.
func builtin(kind schema.GroupVersionKind) (Resource, bool) {
	group := builtinGroups(kind.Group)
	if !slices.Contains(strings.Fields(group.versions), kind.Version) {
		return Resource{}, false
	}
	namespaced := slices.Contains(strings.Fields(group.namespaced), kind.Kind)
	if !namespaced && !slices.Contains(strings.Fields(group.cluster), kind.Kind) {
		return Resource{}, false
	}
	return Resource{kind.GroupVersion().WithResource(plural(kind.Kind)), namespaced}, true
}

// plural spells the resource of a built-in kind.
func plural(kind string) string {
	name := strings.ToLower(kind)
	switch {
	case name == "endpoints":
		return name
	case strings.HasSuffix(name, "s"):
		return name + "es"
	case strings.HasSuffix(name, "y"):
		return strings.TrimSuffix(name, "y") + "ies"
	}
	return name + "s"
}

// mapper finds resources: in the table, else from the cluster, asking for each
// group and version once.
type mapper struct {
	client  *Client
	mu      sync.Mutex
	answers map[schema.GroupVersion]*answer
}

type answer struct {
	once  sync.Once
	kinds map[string]apiResource
	err   error
}

// apiResource is the part of metav1.APIResource that is needed.
type apiResource struct {
	Name       string   `json:"name"`
	Kind       string   `json:"kind"`
	Namespaced bool     `json:"namespaced"`
	Verbs      []string `json:"verbs"`
}

// Resource returns where objects of a kind are found: from a table if the kind is
// built in, else from the cluster, which is asked for each group and version once.
func (c *Client) Resource(ctx context.Context, kind schema.GroupVersionKind) (Resource, error) {
	return c.mapper.find(ctx, kind)
}

// Serves reports whether the cluster serves a kind under that resource by now. It
// asks each time.
func (c *Client) Serves(ctx context.Context, kind schema.GroupVersionKind, r Resource) (bool, error) {
	kinds, err := c.mapper.ask(ctx, kind.GroupVersion())
	return kinds[kind.Kind].Name == r.Resource, err
}

// Preferred returns where objects of a kind are found in the version of its group
// that the cluster serves first, for one that is known by an older version only;
// served is false if the cluster does not have the kind any more.
func (c *Client) Preferred(ctx context.Context, kind schema.GroupKind) (r Resource, served bool, err error) {
	version := "v1"
	if kind.Group != "" {
		body, err := call(ctx, c, Patience{}, func(ctx context.Context) ([]byte, error) {
			return c.rest.Get().AbsPath("/apis", kind.Group).SetHeader("Accept", "application/json").Do(ctx).Raw()
		})
		if apierrors.IsNotFound(err) {
			return Resource{}, false, nil
		}
		if err != nil {
			return Resource{}, false, err
		}
		var group struct {
			Preferred struct {
				Version string `json:"version"`
			} `json:"preferredVersion"`
		}
		if err := json.Unmarshal(body, &group); err != nil {
			return Resource{}, false, fmt.Errorf("read the versions of group %q: %w", kind.Group, err)
		}
		version = group.Preferred.Version
	}
	kinds, err := c.mapper.ask(ctx, schema.GroupVersion{Group: kind.Group, Version: version})
	if err != nil && !apierrors.IsNotFound(err) {
		return Resource{}, false, err
	}
	found, served := kinds[kind.Kind]
	return Resource{kind.WithVersion(version).GroupVersion().WithResource(found.Name), found.Namespaced}, served, nil
}

// IsUnknown reports whether an error of Resource says that the cluster does not serve
// the kind in that version.
func IsUnknown(err error) bool {
	var unserved *unservedError
	return errors.As(err, &unserved)
}

// find returns the resource of a kind.
func (m *mapper) find(ctx context.Context, kind schema.GroupVersionKind) (Resource, error) {
	if found, ok := builtin(kind); ok {
		return found, nil
	}
	version := kind.GroupVersion()
	m.mu.Lock()
	known := m.answers[version]
	if known == nil {
		known = &answer{}
		m.answers[version] = known
	}
	m.mu.Unlock()
	known.once.Do(func() { known.kinds, known.err = m.ask(ctx, version) })
	switch {
	case apierrors.IsNotFound(known.err):
		return Resource{}, &unservedError{version: version}
	case known.err != nil:
		return Resource{}, known.err
	}
	found, ok := known.kinds[kind.Kind]
	switch {
	case !ok:
		return Resource{}, &unservedError{version: version, kind: kind.Kind, kinds: known.kinds}
	case !slices.Contains(found.Verbs, "patch"):
		return Resource{}, fmt.Errorf("kind %q of %s cannot be applied: it is a request to the server, not an object; remove it from the manifests", kind.Kind, version)
	}
	return Resource{version.WithResource(found.Name), found.Namespaced}, nil
}

// ask sends the one request: GET /apis/GROUP/VERSION.
func (m *mapper) ask(ctx context.Context, version schema.GroupVersion) (map[string]apiResource, error) {
	path := []string{"/apis", version.Group, version.Version}
	if version.Group == "" {
		path = []string{"/api", version.Version}
	}
	body, err := call(ctx, m.client, Patience{}, func(ctx context.Context) ([]byte, error) {
		return m.client.rest.Get().AbsPath(path...).SetHeader("Accept", "application/json").Do(ctx).Raw()
	})
	if err != nil {
		return nil, err
	}
	return parseResources(body)
}

// parseResources reads an APIResourceList. Subresources are left out.
func parseResources(body []byte) (map[string]apiResource, error) {
	var list struct {
		Resources []apiResource `json:"resources"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("read the list of resources: %w", err)
	}
	kinds := make(map[string]apiResource, len(list.Resources))
	for _, r := range list.Resources {
		if r.Name != "" && r.Kind != "" && !strings.Contains(r.Name, "/") {
			kinds[r.Kind] = r
		}
	}
	return kinds, nil
}

// unservedError is a group, version or kind that the cluster does not have.
type unservedError struct {
	version schema.GroupVersion
	kind    string
	kinds   map[string]apiResource
}

func (e *unservedError) Error() string {
	if e.kind == "" {
		return fmt.Sprintf("the cluster does not serve apiVersion %q: correct it, or install the CustomResourceDefinition or add it to the manifests", e.version)
	}
	for kind := range e.kinds {
		if strings.EqualFold(kind, e.kind) {
			return fmt.Sprintf("%s has no kind %q: write %q", e.version, e.kind, kind)
		}
	}
	return fmt.Sprintf("the cluster has no kind %q in %s: correct kind or apiVersion, or install the CustomResourceDefinition or add it to the manifests", e.kind, e.version)
}

// Where what is read besides the objects of a deploy is found.
var (
	Pods           = Resource{schema.GroupVersionResource{Version: "v1", Resource: "pods"}, true}
	Events         = Resource{schema.GroupVersionResource{Version: "v1", Resource: "events"}, true}
	Nodes          = Resource{schema.GroupVersionResource{Version: "v1", Resource: "nodes"}, false}
	ReplicaSets    = Resource{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}, true}
	EndpointSlices = Resource{schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}, true}
	StorageClasses = Resource{schema.GroupVersionResource{Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"}, false}
)
