package kube

import "k8s.io/apimachinery/pkg/runtime/schema"

// Where what is read besides the objects of a deploy is found.
var (
	Pods           = Resource{schema.GroupVersionResource{Version: "v1", Resource: "pods"}, true}
	Events         = Resource{schema.GroupVersionResource{Version: "v1", Resource: "events"}, true}
	Nodes          = Resource{schema.GroupVersionResource{Version: "v1", Resource: "nodes"}, false}
	ReplicaSets    = Resource{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}, true}
	EndpointSlices = Resource{schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}, true}
	StorageClasses = Resource{schema.GroupVersionResource{Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"}, false}
)
