package google

import "slices"

// The roles that something here asks for.
const (
	RoleDeveloper     = "roles/container.developer"
	RoleReader        = "roles/artifactregistry.reader"
	RoleWriter        = "roles/artifactregistry.writer"
	RoleGatewayEditor = "roles/gkehub.gatewayEditor"
	RoleGatewayReader = "roles/gkehub.gatewayReader"
	RoleHubViewer     = "roles/gkehub.viewer"
	RoleFederated     = "roles/iam.workloadIdentityUser"
	RoleTokenCreator  = "roles/iam.serviceAccountTokenCreator"
	RoleIAMAdmin      = "roles/resourcemanager.projectIamAdmin"
)

// Permissions that the services here ask for.
const (
	permissionGetCluster   = "container.clusters.get"
	permissionListClusters = "container.clusters.list"
	permissionConnect      = "container.clusters.connect"
	// PermissionDownload and PermissionUpload are Artifact Registry's.
	PermissionDownload = "artifactregistry.repositories.downloadArtifacts"
	PermissionUpload   = "artifactregistry.repositories.uploadArtifacts"

	permissionGetToken   = "iam.serviceAccounts.getAccessToken"
	permissionDelegate   = "iam.serviceAccounts.implicitDelegation"
	permissionGetProject = "resourcemanager.projects.get"
	permissionGetPolicy  = "resourcemanager.projects.getIamPolicy"
	permissionSetPolicy  = "resourcemanager.projects.setIamPolicy"
	permissionGetMember  = "gkehub.memberships.get"
	permissionListMember = "gkehub.memberships.list"
)

// permissions are those of the predefined roles, as far as a service here asks
// for them. A role that is not here does not exist.
var permissions = map[string][]string{
	RoleDeveloper:                   {permissionGetCluster, permissionListClusters, permissionConnect, permissionGetProject},
	"roles/container.clusterViewer": {permissionGetCluster, permissionListClusters, permissionConnect, permissionGetProject},
	"roles/container.viewer":        {permissionGetCluster, permissionListClusters, permissionConnect, permissionGetProject},
	"roles/container.clusterAdmin":  {permissionGetCluster, permissionListClusters, permissionGetProject},
	"roles/container.admin":         {permissionGetCluster, permissionListClusters, permissionConnect, permissionGetProject},

	RoleReader:                             {PermissionDownload},
	RoleWriter:                             {PermissionDownload, PermissionUpload},
	"roles/artifactregistry.admin":         {PermissionDownload, PermissionUpload},
	"roles/storage.objectViewer":           {},
	"roles/logging.logWriter":              {},
	"roles/monitoring.metricWriter":        {},
	"roles/container.hostServiceAgentUser": {},

	RoleHubViewer:               {permissionGetMember, permissionListMember, permissionGetProject},
	"roles/gkehub.editor":       {permissionGetMember, permissionListMember, permissionGetProject},
	"roles/gkehub.admin":        {permissionGetMember, permissionListMember, permissionGetProject},
	RoleGatewayReader:           {"gkehub.gateway.get", "gkehub.gateway.generateCredentials", permissionGetMember},
	RoleGatewayEditor:           {"gkehub.gateway.get", "gkehub.gateway.post", "gkehub.gateway.put", "gkehub.gateway.patch", "gkehub.gateway.delete", "gkehub.gateway.generateCredentials", permissionGetMember},
	"roles/gkehub.gatewayAdmin": {"gkehub.gateway.get", "gkehub.gateway.post", "gkehub.gateway.put", "gkehub.gateway.patch", "gkehub.gateway.delete", "gkehub.gateway.stream", "gkehub.gateway.generateCredentials", permissionGetMember},

	RoleFederated:    {permissionGetToken},
	RoleTokenCreator: {permissionGetToken, permissionDelegate},

	RoleIAMAdmin:              {permissionGetProject, permissionGetPolicy, permissionSetPolicy},
	"roles/iam.securityAdmin": {permissionGetProject, permissionGetPolicy, permissionSetPolicy},
	"roles/browser":           {permissionGetProject, permissionGetPolicy},
	"roles/viewer":            {permissionGetProject, permissionGetPolicy, permissionGetCluster, permissionListClusters, permissionConnect, PermissionDownload, permissionGetMember, permissionListMember},
	"roles/editor":            {permissionGetProject, permissionGetPolicy, permissionGetCluster, permissionListClusters, permissionConnect, PermissionDownload, PermissionUpload, permissionGetMember, permissionListMember},
	"roles/owner":             {permissionGetProject, permissionGetPolicy, permissionSetPolicy, permissionGetCluster, permissionListClusters, permissionConnect, PermissionDownload, PermissionUpload, permissionGetMember, permissionListMember},
}

func grants(roles []string, permission string) bool {
	return slices.ContainsFunc(roles, func(r string) bool { return slices.Contains(permissions[r], permission) })
}
