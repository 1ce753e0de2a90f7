package cluster

import (
	"context"
	"fmt"
	"net/url"
	"strings"
)

// memberships asks the hub for those of a project, in all locations.
func (g *google) memberships(ctx context.Context, project string, query url.Values) ([]membership, error) {
	query.Set("fields", "resources("+membershipFields+"),unreachable")
	var list struct {
		Resources   []membership `json:"resources"`
		Unreachable []string     `json:"unreachable"`
	}
	if err := g.fetch(ctx, "https://"+hostHub+"/v1/projects/"+project+"/locations/-/memberships", query, &list); err != nil {
		return nil, g.hub(project, "gkehub.memberships.list").refused(err)
	}
	if len(list.Resources) == 0 && len(list.Unreachable) > 0 {
		return nil, fmt.Errorf("look up the fleet membership of cluster %q: Google does not reach %s now: run the job again later, or set fleet_membership in full", g.Name.Cluster, phrase(strings.Join(list.Unreachable, ", ")))
	}
	return list.Resources, nil
}

func (g *google) hub(project, permission string) need {
	return need{
		act: fmt.Sprintf("look up the fleet membership of cluster %q", g.Name.Cluster), service: hostHub, project: project,
		permission: permission, role: roleHubViewer, principal: g.Principal,
	}
}

// project is what the resource manager knows of one.
type project struct {
	Name string `json:"name"` // projects/NUMBER
	ID   string `json:"projectId"`
}

func (g *google) project(ctx context.Context, id string) (project, error) {
	var p project
	if err := g.fetch(ctx, "https://"+hostProjects+"/v3/projects/"+id, url.Values{"fields": {"name,projectId"}}, &p); err != nil {
		n := g.hub(id, "resourcemanager.projects.get")
		n.act, n.service = fmt.Sprintf("look up the number of project %q for the Connect gateway", id), hostProjects
		return p, n.refused(err)
	}
	return p, nil
}

// number is the project's number, the only name of it that the gateway takes.
func (g *google) number(ctx context.Context, id string) (string, error) {
	if isNumber(id) {
		return id, nil
	}
	p, err := g.project(ctx, id)
	if err != nil {
		return "", err
	}
	number := strings.TrimPrefix(p.Name, "projects/")
	if !isNumber(number) {
		return "", fmt.Errorf("look up the number of project %q for the Connect gateway: Google's answer has the name %q: give fleet_membership in full, with the project's number", id, phrase(p.Name))
	}
	return number, nil
}
