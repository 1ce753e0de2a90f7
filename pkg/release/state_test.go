package release

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

func objectNamed(name, uid string) Object {
	return Object{ID: object.ID{Group: "apps", Kind: "Deployment", Namespace: space, Name: name}, UID: uid}
}

func TestInventory(t *testing.T) {
	t.Parallel()
	ids := func(list []Object) string {
		var all []string
		for _, o := range list {
			all = append(all, o.Name+":"+o.UID)
		}
		return strings.Join(all, " ")
	}
	before := []Object{objectNamed("a", "1"), objectNamed("b", "2"), objectNamed("c", "3")}
	all, forgotten := union(before, []Object{objectNamed("d", ""), objectNamed("b", ""), objectNamed("a", "9"), objectNamed("d", "")})
	if got := ids(all); got != "a:9 b: d: c:3" || forgotten != nil {
		t.Errorf("%s, forgotten %v", got, forgotten)
	}
	if got := ids(refresh(all, []Object{objectNamed("d", "4"), objectNamed("a", "")}, []object.ID{objectNamed("c", "").ID})); got != "a:9 b: d:4" {
		t.Error(got)
	}
	// What was there before the release is not known to be its own until it is verified.
	found := func(o Object) Object { o.Found = true; return o }
	all, _ = union([]Object{found(objectNamed("a", "1")), objectNamed("b", "2"), objectNamed("c", ""), objectNamed("d", "4")},
		[]Object{objectNamed("a", "1"), found(objectNamed("b", "2")), objectNamed("c", "3"), objectNamed("d", "5"), objectNamed("e", "6"), found(objectNamed("f", ""))})
	var flags []string
	for _, o := range all {
		if o.Found {
			flags = append(flags, o.Name)
		}
	}
	if got := strings.Join(flags, " "); got != "a d e" {
		t.Errorf("found: %s", got)
	}
	all = left(all, idsOf([]Object{objectNamed("a", ""), objectNamed("d", "")}))
	for _, o := range all {
		if o.Left != (o.Name != "a" && o.Name != "d") || o.Found != (o.Name == "e") {
			t.Errorf("after a release of a and d: %+v", o)
		}
	}
	if got := ids(leaving(all, idsOf([]Object{objectNamed("d", "")}))); got != "a:1" {
		t.Errorf("leaving: %s", got)
	}
	var many []Object
	for i := range maxObjects {
		many = append(many, objectNamed(fmt.Sprintf("x%04d", i), ""))
	}
	all, forgotten = union(many, before)
	if len(all) != maxObjects || len(forgotten) != 3 || forgotten[2].Name != fmt.Sprintf("x%04d", maxObjects-1) || all[0].Name != "a" {
		t.Errorf("%d, forgotten %v", len(all), forgotten)
	}
}

// TestRecordIsBounded: 1,000 objects with the longest names and 50 releases fit,
// and of more the oldest releases go.
func TestRecordIsBounded(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := open(t, s.client(t, nil))
	var objects []Object
	for i := range 1000 {
		objects = append(objects, Object{
			ID:  object.ID{Group: strings.Repeat("g", 63), Kind: strings.Repeat("K", 30), Namespace: strings.Repeat("n", 63), Name: fmt.Sprintf("%0253d", i)},
			UID: "01234567-89ab-cdef-0123-456789abcdef",
		})
	}
	var images []Image
	for range 2 * maxImages {
		images = append(images, Image{Reference: strings.Repeat("i", 1000), Digest: "sha256:" + strings.Repeat("0", 64)})
	}
	wordy := run(1)
	wordy.Workflow, wordy.Actor, wordy.Commit = strings.Repeat("w", 5000), strings.Repeat("ä", 5000), strings.Repeat("c", 5000)
	if _, err := r.Claim(t.Context(), ClaimOptions{Run: wordy, Inventory: objects, Images: images}); err != nil {
		t.Fatal(err)
	}
	if err := r.Finish(t.Context(), FinishOptions{Outcome: Deployed}); err != nil {
		t.Fatal(err)
	}
	state := open(t, s.client(t, nil)).current.state
	if len(state.inventory) != 1000 || len(state.releases) != 1 {
		t.Errorf("%d objects, %d releases", len(state.inventory), len(state.releases))
	}
	for len(state.releases) < maxEntries {
		state.releases = append(state.releases, state.releases[0])
	}
	data, err := state.data()
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for key, value := range data {
		size += len(key) + len(value)
	}
	again, err := parse(data)
	if err != nil || size > maxBytes || len(again.releases) < 10 || len(again.releases) == maxEntries || len(again.inventory) != 1000 {
		t.Errorf("%d bytes, %d releases, %v", size, len(again.releases), err)
	}
	state.inventory = append(append(append(state.inventory, state.inventory...), state.inventory...), state.inventory...)
	if _, err := state.data(); err == nil || !strings.Contains(err.Error(), "divide the manifests") {
		t.Error(err)
	}
}

// TestLaterVersion: what a later version has written, and this one does not know,
// is still there after a deploy of this one.
func TestLaterVersion(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := open(t, s.client(t, nil))
	claim(t, r, run(1))
	finish(t, r, Deployed)
	s.edit("model", func(data map[string]any) {
		data["canary"] = "kept"
		data[keyReleases] = strings.Replace(data[keyReleases].(string), "{", `{"approvedBy":"ann",`, 1)
	})
	r = open(t, s.client(t, nil))
	claim(t, r, run(2))
	finish(t, r, Deployed)
	data := s.data("model")
	if data["canary"] != "kept" || !strings.Contains(data[keyReleases].(string), `"approvedBy":"ann"`) {
		t.Errorf("%v", data)
	}
	if got := outcomes(t, s); got != "2-1 deployed, 1-1 deployed" {
		t.Error(got)
	}
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	const advice = "; correct it, or begin a new history: `kubectl delete configmap deploy-model-action.model --namespace models` (what serves stays as it is; the list of releases goes, which run is the newest, and what prune would know)"
	for _, tt := range []struct{ key, value, want string }{
		{keyFormat, "", `key "format": is not the number of a format`},
		{keyFormat, "2", `key "format": is 2, which a later version of this action wrote: use that version`},
		{keyNewest, "{", `key "newest": is not JSON: unexpected end of JSON input`},
		{keyNewest, `{"run":"7"}`, `key "newest": run: string instead of int64`},
		{keyHolder, "[]", `key "holder": the value: array instead of struct`},
		{keyHolder, `{"run":7}`, `key "holder": has no nonce`},
		{keyUndo, "{}\n", `key "undo": an entry has no log or nonce`},
		{keyInventory, "\n\nx\n", `key "inventory": line 3: is not JSON: invalid character 'x' looking for beginning of value`},
		{keyInventory, `{"kind":"Deployment"}`, `key "inventory": entry 1 has no kind or name`},
		{keyReleases, `{"started":"yesterday"}`, `key "releases": line 1: is not JSON: parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"`},
	} {
		s := newServer(t)
		s.edit("model", func(data map[string]any) {
			data[keyFormat] = "1"
			data[tt.key] = tt.value
		})
		_, err := Open(t.Context(), s.client(t, nil), space, "model")
		unreadable, ok := errors.AsType[*UnreadableError](err)
		want := "release record: ConfigMap models/deploy-model-action.model: " + tt.want + advice
		if !ok || unreadable.Error() != want || unreadable.Title() == "" {
			t.Errorf("%s %q:\n%v, want\n%s", tt.key, tt.value, err, want)
		}
	}
}

// TestDeleted: a person who deletes the record in the middle of a deploy takes the
// history away, and nothing else.
func TestDeleted(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := open(t, s.client(t, nil))
	if _, err := r.Claim(t.Context(), ClaimOptions{Run: run(1), Inventory: []Object{objectNamed("a", "")}, Undo: []kube.Change{change("a", "1")}}); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	delete(s.objects, "/api/v1/namespaces/models/configmaps/deploy-model-action.model")
	s.mu.Unlock()
	if err := r.Held(t.Context()); err != nil {
		t.Error(err)
	}
	if err := r.Finish(t.Context(), FinishOptions{Outcome: Deployed, Inventory: []Object{objectNamed("a", "7")}}); err != nil {
		t.Fatal(err)
	}
	now := open(t, s.client(t, nil))
	if diff := cmp.Diff([]Object{objectNamed("a", "7")}, now.Inventory()); diff != "" || outcomes(t, s) != "1-1 deployed" || s.names("secrets") != nil {
		t.Errorf("%s %s %s", diff, outcomes(t, s), s.names("secrets"))
	}
}

func FuzzParse(f *testing.F) {
	s := state{}
	s, _ = s.claimed("n", time.Unix(0, 0), ClaimOptions{Run: run(1), Inventory: []Object{objectNamed("a", "1")}, Undo: []kube.Change{change("a", "1")}}, false)
	data, err := s.data()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data[keyFormat], data[keyNewest], data[keyHolder], data[keyUndo], data[keyInventory], data[keyReleases])
	f.Add("1", "{}", "", "", "", "")
	f.Fuzz(func(t *testing.T, version, newest, holder, undo, inventory, releases string) {
		s, err := parse(map[string]string{keyFormat: version, keyNewest: newest, keyHolder: holder, keyUndo: undo, keyInventory: inventory, keyReleases: releases, "x": "y"})
		if err != nil {
			var key *keyError
			if !errors.As(err, &key) {
				t.Errorf("no key is named: %v", err)
			}
			return
		}
		// Whatever can be read can be claimed, finished, shown, and read again.
		s, _ = s.claimed("nonce", time.Unix(0, 0), ClaimOptions{Run: Run{}}, s.inherits())
		s = s.finished(nil, nil, time.Unix(1, 0), FinishOptions{Outcome: Deployed})
		for _, line := range Table(s.releases) {
			if strings.ContainsAny(line, "\n\r\x1b") {
				t.Errorf("not a line: %q", line)
			}
		}
		data, err := s.data()
		if err != nil {
			return // too large, or a time that JSON has no words for
		}
		again, err := parse(data)
		if err != nil || again.holder.Nonce != "nonce" || !again.holder.Finished || data["x"] != "y" {
			t.Errorf("%v, %v", err, data)
		}
	})
}
