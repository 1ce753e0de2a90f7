package google

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Policy is an allow policy, in IAM's JSON.
type Policy struct {
	Version      int             `json:"version,omitempty"`
	Etag         string          `json:"etag,omitempty"`
	Bindings     []Binding       `json:"bindings,omitempty"`
	AuditConfigs json.RawMessage `json:"auditConfigs,omitempty"`
}

// Binding gives a role to members, under a condition if there is one.
type Binding struct {
	Role      string     `json:"role"`
	Members   []string   `json:"members"`
	Condition *Condition `json:"condition,omitempty"`
}

// Condition is an expression in CEL.
type Condition struct {
	Title       string `json:"title"`
	Description string `json:"description,omitempty"`
	Expression  string `json:"expression"`
}

func (c *Cloud) projectResource() string { return "projects/" + c.Project }

func accountResource(email string) string { return "serviceAccounts/" + email }

// Policy returns the policy of the project.
func (c *Cloud) Policy() Policy {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.policies[c.projectResource()].clone()
}

// ChangePolicy changes the policy of the project, whatever it is by then.
func (c *Cloud) ChangePolicy(change func(p *Policy)) {
	c.mu.Lock()
	p := c.policies[c.projectResource()].clone()
	change(&p)
	c.store(c.projectResource(), p)
	c.mu.Unlock()
	c.tell()
}

// Bind adds the member to the role on a service account, as
// `gcloud iam service-accounts add-iam-policy-binding` does.
func (c *Cloud) Bind(email, role, member string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.policies[accountResource(email)].clone()
	p.add(role, member)
	c.store(accountResource(email), p)
}

// SetRoles replaces the principal's roles on the project.
func (c *Cloud) SetRoles(principal string, roles ...string) {
	c.mu.Lock()
	member := memberName(principal)
	if all := c.membersOf(principal); len(all) > 0 {
		member = all[0]
	}
	p := c.policies[c.projectResource()].clone()
	p.remove(member)
	for _, role := range roles {
		p.add(role, member)
	}
	c.store(c.projectResource(), p)
	c.mu.Unlock()
	c.tell()
}

// memberName is how policies name a principal that is not known yet.
func memberName(principal string) string {
	switch {
	case strings.HasPrefix(principal, "principal"):
		return principal
	case strings.HasSuffix(principal, ".gserviceaccount.com"):
		return "serviceAccount:" + principal
	}
	return "user:" + principal
}

// HasRole tells whether the principal has one of the roles on the project.
func (c *Cloud) HasRole(principal string, roles ...string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.rolesOn(c.projectResource(), principal), func(r string) bool { return slices.Contains(roles, r) })
}

// HasPermission tells whether the principal has the permission on the project.
func (c *Cloud) HasPermission(principal, permission string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return grants(c.rolesOn(c.projectResource(), principal), permission)
}

// hasPermissionOn is the same for a service account, which inherits the project's policy.
func (c *Cloud) hasPermissionOn(account, principal, permission string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return grants(c.rolesOn(accountResource(account), principal), permission) || grants(c.rolesOn(c.projectResource(), principal), permission)
}

// rolesOn lists the roles that a policy gives the principal now. The lock is held.
func (c *Cloud) rolesOn(resource, principal string) []string {
	members := c.membersOf(principal)
	var roles []string
	for _, b := range c.policies[resource].Bindings {
		if slices.ContainsFunc(b.Members, func(m string) bool { return slices.Contains(members, m) }) &&
			(b.Condition == nil || holds(b.Condition.Expression, map[string]any{
				"request":  map[string]any{"time": time.Now()},
				"resource": map[string]any{"name": "//cloudresourcemanager.googleapis.com/" + resource, "service": "cloudresourcemanager.googleapis.com", "type": "cloudresourcemanager.googleapis.com/Project"},
			})) {
			roles = append(roles, b.Role)
		}
	}
	return roles
}

// tell tells OnRoles of every identity whose roles are not what it was told last.
func (c *Cloud) tell() {
	if c.OnRoles == nil {
		return
	}
	c.telling.Lock()
	defer c.telling.Unlock()
	c.mu.Lock()
	changed := map[string][]string{}
	for principal := range c.identities {
		roles := c.rolesOn(c.projectResource(), principal)
		slices.Sort(roles)
		if text := strings.Join(roles, " "); text != c.told[principal] {
			c.told[principal] = text
			changed[principal] = roles
		}
	}
	c.mu.Unlock()
	for _, principal := range slices.Sorted(maps.Keys(changed)) {
		c.OnRoles(principal, changed[principal])
	}
}

// store keeps a policy under a new etag. The lock is held.
func (c *Cloud) store(resource string, p Policy) {
	p.Etag = base64.StdEncoding.EncodeToString(append([]byte{7, 6}, randomHex(3)...))
	p.Bindings = slices.DeleteFunc(p.Bindings, func(b Binding) bool { return len(b.Members) == 0 })
	p.Version = 1
	if p.conditional() {
		p.Version = 3
	}
	c.policies[resource] = p
}

// replace is setIamPolicy; if it refuses, the message is Google's.
func (c *Cloud) replace(resource string, p Policy) (stored Policy, status int, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	have := c.policies[resource]
	if p.Etag != "" && p.Etag != have.Etag {
		return Policy{}, http.StatusConflict, "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff."
	}
	if (have.conditional() || p.conditional()) && p.Version < 3 {
		return Policy{}, http.StatusBadRequest, fmt.Sprintf("Specified policy version (%d) cannot be less than the existing policy version (3). For more information, please refer to https://cloud.google.com/iam/help/conditions/troubleshooting.", p.Version)
	}
	for _, b := range p.Bindings {
		if _, known := permissions[b.Role]; !known {
			return Policy{}, http.StatusBadRequest, fmt.Sprintf("Role %s is not supported for this resource.", b.Role)
		}
		for _, m := range b.Members {
			if message := c.checkMember(have, b.Role, m); message != "" {
				return Policy{}, http.StatusBadRequest, message
			}
		}
	}
	if p.AuditConfigs == nil {
		p.AuditConfigs = have.AuditConfigs // what the request leaves out is kept
	}
	c.store(resource, p.clone())
	return c.policies[resource].clone(), http.StatusOK, ""
}

// checkMember refuses members that Google refuses. One that the policy has is
// kept, though it may have been deleted since. The lock is held.
func (c *Cloud) checkMember(have Policy, role, member string) (message string) {
	kind, name, ok := strings.Cut(member, ":")
	if !ok || !slices.Contains([]string{"serviceAccount", "user", "group", "domain", "principal", "principalSet", "deleted"}, kind) {
		return fmt.Sprintf("The member %s is of an unknown type. Please set a valid type prefix for the member.", member)
	}
	if kind == "serviceAccount" && c.identities[name] == nil && !have.has(role, member) {
		return fmt.Sprintf("Service account %s does not exist.", name)
	}
	return ""
}

func (p Policy) clone() Policy {
	bindings := p.Bindings
	p.Bindings = nil
	for _, b := range bindings {
		b.Members = slices.Clone(b.Members)
		p.Bindings = append(p.Bindings, b)
	}
	return p
}

func (p Policy) conditional() bool {
	return slices.ContainsFunc(p.Bindings, func(b Binding) bool { return b.Condition != nil })
}

func (p Policy) has(role, member string) bool {
	return slices.ContainsFunc(p.Bindings, func(b Binding) bool { return b.Role == role && slices.Contains(b.Members, member) })
}

func (p *Policy) add(role, member string) {
	for i, b := range p.Bindings {
		if b.Role == role && b.Condition == nil {
			if !slices.Contains(b.Members, member) {
				p.Bindings[i].Members = append(b.Members, member)
			}
			return
		}
	}
	p.Bindings = append(p.Bindings, Binding{Role: role, Members: []string{member}})
}

func (p *Policy) remove(member string) {
	for i, b := range p.Bindings {
		if b.Condition == nil {
			p.Bindings[i].Members = slices.DeleteFunc(b.Members, func(m string) bool { return m == member })
		}
	}
}

// as is the policy as a client of an older version sees it: without conditions,
// and with roles that say so.
func (p Policy) as(version int) Policy {
	if version >= 3 || !p.conditional() {
		return p
	}
	p = p.clone()
	p.Version = 1
	for i, b := range p.Bindings {
		if b.Condition != nil {
			sum := sha256.Sum256([]byte(b.Condition.Expression))
			p.Bindings[i].Role += "_withcond_" + hex.EncodeToString(sum[:10])
			p.Bindings[i].Condition = nil
		}
	}
	return p
}
