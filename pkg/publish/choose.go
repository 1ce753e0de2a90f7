package publish

import (
	"slices"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/org/deploy-model-action/pkg/redact"
	"github.com/org/deploy-model-action/pkg/registry"
)

// choose finds the candidate of each target. Nothing is taken that has the name of
// another image.
func (p *publisher) choose(from source) ([]*candidate, error) {
	all := from.candidates()
	chosen := make([]*candidate, len(p.targets))
	for i, t := range p.targets {
		wanted := p.wanted(t)
		found, by := find(all, wanted)
		if len(found) == 0 && len(p.targets) == 1 && p.options.From != FromDocker {
			found, by = p.nameless(all, t)
		}
		switch len(found) {
		case 0:
			return nil, &NotThereError{Reference: reference(t), Source: from.String(), Wanted: written(wanted), Found: p.found(all, t)}
		case 1:
			chosen[i] = found[0]
			chosen[i].match = by
		default:
			return nil, &AmbiguousError{Reference: reference(t), Source: from.String(), Name: found[0].as, Count: len(found)}
		}
	}
	return chosen, nil
}

// wantedName is a name that an image to publish may have.
type wantedName struct {
	fullName
	by Match
}

// wanted are the names of a target. One with the commit comes before any latest: on
// a runner that stays, that may be of the build before.
func (p *publisher) wanted(target name.Tag) []wantedName {
	full := registry.DisplayName(target.Context().Name())
	own := p.options.Prefix.Relative(target.Context())
	var names []wantedName
	for _, w := range []wantedName{
		{parseFullName(full + ":" + target.TagStr()), ByName},
		{parseFullName(own + ":" + target.TagStr()), ByShortName},
		{parseFullName(full + ":" + name.DefaultTag), ByLatest},
		{parseFullName(own + ":" + name.DefaultTag), ByShortLatest},
	} {
		if !slices.ContainsFunc(names, func(n wantedName) bool { return n.written == w.written }) {
			names = append(names, w)
		}
	}
	return names
}

func written(names []wantedName) []string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = n.written
	}
	return all
}

// find returns the candidates that have the first of the names that any has.
func find(all []*candidate, wanted []wantedName) (found []*candidate, by Match) {
	for _, w := range wanted {
		for _, c := range all {
			if i := slices.IndexFunc(c.names, w.same); i >= 0 {
				found = append(found, c.found(c.names[i].written))
			}
		}
		if len(found) > 0 {
			return found, w.by
		}
	}
	return nil, 0
}

// nameless returns the candidates that may be what an archive was written for: by a
// tag that is their only name, or because there is no other.
func (p *publisher) nameless(all []*candidate, target name.Tag) (found []*candidate, by Match) {
	for _, w := range []struct {
		tag bareTag
		by  Match
	}{{bareTag(target.TagStr()), ByTag}, {name.DefaultTag, ByBareLatest}} {
		for _, c := range all {
			if len(c.names) == 0 && slices.Contains(c.tags, w.tag) {
				found = append(found, c.found(string(w.tag)))
			}
		}
		if len(found) > 0 {
			return found, w.by
		}
	}
	if len(all) != 1 {
		return nil, 0
	}
	own := parseFullName(target.Name()).path()
	another := func(n fullName) bool { return n.path() != own }
	if only := all[0]; len(only.names) == 0 || !slices.ContainsFunc(only.names, another) {
		as := ""
		if len(only.names) > 0 {
			as = only.names[0].written
		}
		return []*candidate{only.found(as)}, ByBeingAlone
	}
	return nil, 0
}

// found are the names that a source has, the nearest to a target first.
func (p *publisher) found(all []*candidate, target name.Tag) []string {
	var names []string
	for _, c := range all {
		for _, n := range c.names {
			names = append(names, n.written)
		}
		if len(c.names) == 0 {
			for _, tag := range c.tags {
				names = append(names, string(tag))
			}
		}
	}
	own := p.options.Prefix.Relative(target.Context())
	far := func(n string) int {
		return min(registry.Distance(n, own+":"+target.TagStr()), registry.Distance(n, registry.DisplayName(target.Name())))
	}
	slices.SortStableFunc(names, func(a, b string) int { return far(a) - far(b) })
	return slices.Compact(names)
}

// quoted cuts a foreign name for a sentence, since nothing bounds it.
func quoted(name string) string { return redact.Line(name, 300) }
