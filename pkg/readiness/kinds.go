package readiness

import "k8s.io/apimachinery/pkg/runtime/schema"

// rules evaluate the kinds that have a notion of ready and are known here: those
// that are built in, and those that serve models.
var rules = map[schema.GroupKind]func(view) Result{
	{Group: "apps", Kind: "Deployment"}:                               deployment,
	{Group: "apps", Kind: "StatefulSet"}:                              statefulSet,
	{Group: "apps", Kind: "DaemonSet"}:                                daemonSet,
	{Group: "apps", Kind: "ReplicaSet"}:                               replicaSet,
	{Kind: "ReplicationController"}:                                   replicaSet,
	{Group: "batch", Kind: "Job"}:                                     job,
	{Group: "batch", Kind: "CronJob"}:                                 cronJob,
	{Kind: "Pod"}:                                                     pod,
	{Kind: "PersistentVolumeClaim"}:                                   claim,
	{Kind: "Service"}:                                                 service,
	{Group: "networking.k8s.io", Kind: "Ingress"}:                     ingress,
	{Group: "gateway.networking.k8s.io", Kind: "Gateway"}:             gateway,
	{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute"}:           route,
	{Group: "gateway.networking.k8s.io", Kind: "GRPCRoute"}:           route,
	{Group: "gateway.networking.k8s.io", Kind: "TLSRoute"}:            route,
	{Group: "gateway.networking.k8s.io", Kind: "TCPRoute"}:            route,
	{Group: "gateway.networking.k8s.io", Kind: "UDPRoute"}:            route,
	{Group: "inference.networking.k8s.io", Kind: "InferencePool"}:     pool,
	{Group: "inference.networking.x-k8s.io", Kind: "InferencePool"}:   pool,
	{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}: definition,
	{Group: "serving.kserve.io", Kind: "InferenceService"}:            inference,
	{Group: "serving.kserve.io", Kind: "InferenceGraph"}:              inference,
	{Group: "serving.kserve.io", Kind: "LLMInferenceService"}:         inference,
	{Group: "serving.knative.dev", Kind: "Service"}:                   knative,
	{Group: "argoproj.io", Kind: "Rollout"}:                           argo,
	{Group: "leaderworkerset.x-k8s.io", Kind: "LeaderWorkerSet"}:      leaderWorkerSet,
	{Group: "ray.io", Kind: "RayService"}:                             rayService,
	{Group: "ray.io", Kind: "RayCluster"}:                             rayCluster,
	{Group: "ray.io", Kind: "RayJob"}:                                 rayJob,
	{Group: "jobset.x-k8s.io", Kind: "JobSet"}:                        jobSet,
	{Group: "networking.gke.io", Kind: "ManagedCertificate"}:          certificate,
}

// builtIn are the API groups whose other kinds are ready as soon as they exist.
var builtIn = map[string]bool{
	"": true, "apps": true, "batch": true, "autoscaling": true, "policy": true, "extensions": true,
	"admissionregistration.k8s.io": true, "apiextensions.k8s.io": true, "apiregistration.k8s.io": true,
	"authentication.k8s.io": true, "authorization.k8s.io": true, "certificates.k8s.io": true,
	"coordination.k8s.io": true, "discovery.k8s.io": true, "events.k8s.io": true,
	"flowcontrol.apiserver.k8s.io": true, "internal.apiserver.k8s.io": true, "networking.k8s.io": true,
	"node.k8s.io": true, "rbac.authorization.k8s.io": true, "resource.k8s.io": true,
	"scheduling.k8s.io": true, "storage.k8s.io": true, "storagemigration.k8s.io": true,
}

// settings are custom kinds that others read, as they do a ConfigMap or an
// autoscaler's: their APIs define no status, or none that a deploy could wait for.
var settings = map[schema.GroupKind]bool{
	{Group: "cloud.google.com", Kind: "BackendConfig"}:              true,
	{Group: "networking.gke.io", Kind: "FrontendConfig"}:            true,
	{Group: "cloud.google.com", Kind: "ComputeClass"}:               true,
	{Group: "autoscaling.k8s.io", Kind: "VerticalPodAutoscaler"}:    true,
	{Group: "monitoring.googleapis.com", Kind: "PodMonitoring"}:     true,
	{Group: "monitoring.googleapis.com", Kind: "Rules"}:             true,
	{Group: "monitoring.coreos.com", Kind: "ServiceMonitor"}:        true,
	{Group: "monitoring.coreos.com", Kind: "PodMonitor"}:            true,
	{Group: "monitoring.coreos.com", Kind: "PrometheusRule"}:        true,
	{Group: "serving.kserve.io", Kind: "ServingRuntime"}:            true,
	{Group: "serving.kserve.io", Kind: "ClusterServingRuntime"}:     true,
	{Group: "serving.kserve.io", Kind: "LLMInferenceServiceConfig"}: true,
	{Group: "argoproj.io", Kind: "AnalysisTemplate"}:                true,
	{Group: "argoproj.io", Kind: "ClusterAnalysisTemplate"}:         true,
}
