package cluster

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/org/deploy-model-action/pkg/redact"
)

// memberships asks the hub for those of a project, in all locations.
func (f *finder) memberships(ctx context.Context, project string, query url.Values) ([]membership, error) {
	query.Set("fields", "resources("+membershipFields+"),unreachable")
	var list struct {
		Resources   []membership `json:"resources"`
		Unreachable []string     `json:"unreachable"`
	}
	if err := f.fetch(ctx, "https://"+hostHub+"/v1/projects/"+project+"/locations/-/memberships", query, &list); err != nil {
		return nil, f.hub(project, "gkehub.memberships.list").refused(err)
	}
	if len(list.Resources) == 0 && len(list.Unreachable) > 0 {
		return nil, fmt.Errorf("look up the fleet membership of cluster %q: Google does not reach %s now: run the job again later, or set fleet_membership in full", f.Name.Cluster, redact.Phrase(strings.Join(list.Unreachable, ", ")))
	}
	return list.Resources, nil
}

func (f *finder) hub(project, permission string) need {
	return need{
		act: fmt.Sprintf("look up the fleet membership of cluster %q", f.Name.Cluster), service: hostHub, project: project,
		permission: permission, role: roleHubViewer, principal: f.Principal,
	}
}

// project is what the resource manager knows of one.
type project struct {
	Name string `json:"name"` // projects/NUMBER
	ID   string `json:"projectId"`
}

func (f *finder) project(ctx context.Context, id string) (project, error) {
	var p project
	if err := f.fetch(ctx, "https://"+hostProjects+"/v3/projects/"+id, url.Values{"fields": {"name,projectId"}}, &p); err != nil {
		n := f.hub(id, "resourcemanager.projects.get")
		n.act, n.service = fmt.Sprintf("look up the number of project %q for the Connect gateway", id), hostProjects
		return p, n.refused(err)
	}
	return p, nil
}

// number is the project's number, the only name of it that the gateway takes.
func (f *finder) number(ctx context.Context, id string) (string, error) {
	if isNumber(id) {
		return id, nil
	}
	p, err := f.project(ctx, id)
	if err != nil {
		return "", err
	}
	number := strings.TrimPrefix(p.Name, "projects/")
	if !isNumber(number) {
		return "", fmt.Errorf("look up the number of project %q for the Connect gateway: Google's answer has the name %q: give fleet_membership in full, with the project's number", id, redact.Phrase(p.Name))
	}
	return number, nil
}
