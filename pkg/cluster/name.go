package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Name names one cluster.
type Name struct {
	Project  string // ID or number
	Location string // zone or region
	Cluster  string
}

// String returns projects/P/locations/L/clusters/C.
func (n Name) String() string {
	return "projects/" + n.Project + "/locations/" + n.Location + "/clusters/" + n.Cluster
}

// update is the command that changes a setting of the cluster.
func (n Name) update(flags string) string {
	return fmt.Sprintf("gcloud container clusters update %s --location=%s --project=%s %s", n.Cluster, n.Location, n.Project, flags)
}

var (
	// fullForm also takes zones/ and regions/, which stand in links that the
	// console and older tools show.
	fullForm     = regexp.MustCompile(`^projects/([^/]+)/(?:locations|zones|regions)/([^/]+)/clusters/([^/]+)$`)
	clusterForm  = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$`)
	locationForm = regexp.MustCompile(`^[a-z]+-[a-z]+[0-9]+(-[a-z0-9]+)?$`)
	projectForm  = regexp.MustCompile(`^([a-z0-9.-]{1,63}:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$|^[0-9]{4,20}$`)
)

// ParseName makes a name of the inputs cluster_name, zone and project_id. The
// first may be a full name or a link to the cluster, which makes the others
// unnecessary; what is given twice must be the same. All mistakes are joined.
func ParseName(cluster, location, project string) (Name, error) {
	n := Name{Project: strings.TrimSpace(project), Location: strings.TrimSpace(location), Cluster: strings.TrimSpace(cluster)}
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if strings.Contains(n.Cluster, "/") {
		link := n.Cluster
		for _, service := range []string{"https://container.googleapis.com/v1/", "//container.googleapis.com/"} {
			link = strings.TrimPrefix(link, service)
		}
		m := fullForm.FindStringSubmatch(link)
		if m == nil {
			fail("input cluster_name %q: is neither a short name nor a full one: write NAME, or projects/PROJECT/locations/LOCATION/clusters/NAME", n.Cluster)
			return Name{}, errors.Join(errs...)
		}
		if n.Project != "" && n.Project != m[1] && !isNumber(n.Project) && !isNumber(m[1]) {
			fail("input project_id %q: the full cluster_name says %q: leave project_id away, or correct one of them", n.Project, m[1])
		}
		if n.Location != "" && n.Location != m[2] {
			fail("input zone %q: the full cluster_name says %q: leave zone away, or correct one of them", n.Location, m[2])
		}
		n = Name{Project: m[1], Location: m[2], Cluster: m[3]}
	}
	switch {
	case n.Cluster == "":
		fail("input cluster_name: empty: set it to the name of the cluster, e.g. from `gcloud container clusters list`")
	case !clusterForm.MatchString(n.Cluster):
		fail("input cluster_name %q: is not the name of a cluster: it has small letters, digits and dashes, 40 at most, and begins with a letter", n.Cluster)
	}
	switch {
	case n.Location == "":
		fail("input zone: empty: set it to the zone or region of the cluster, e.g. europe-west6-a, or give cluster_name in full")
	case !locationForm.MatchString(n.Location):
		fail("input zone %q: is neither a zone nor a region: write it as europe-west6-a or europe-west6", n.Location)
	}
	switch {
	case n.Project == "":
		fail("input project_id: empty, and neither the credentials nor GOOGLE_CLOUD_PROJECT say which project it is: set it, or give cluster_name in full")
	case !projectForm.MatchString(n.Project):
		fail("input project_id %q: is not the ID of a project: it has 6 to 30 small letters, digits and dashes, and may differ from the project's display name; see `gcloud projects list`", n.Project)
	}
	if len(errs) > 0 {
		return Name{}, errors.Join(errs...)
	}
	return n, nil
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// sortByNearness puts first what was probably meant: the same name elsewhere,
// then the most similar names, those in the same location before others.
func sortByNearness(names []Name, meant Name) {
	slices.SortStableFunc(names, func(a, b Name) int {
		return cmp.Or(
			cmp.Compare(distance(a.Cluster, meant.Cluster), distance(b.Cluster, meant.Cluster)),
			cmp.Compare(distance(a.Location, meant.Location), distance(b.Location, meant.Location)),
			cmp.Compare(a.Cluster, b.Cluster),
			cmp.Compare(a.Location, b.Location),
		)
	})
}

// distance is Levenshtein's: how many letters must be changed, added or removed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
