package object

import (
	"encoding/json"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// FieldManagerOf is the manager that a field belongs to, and when that wrote last,
// to the second; "" if the object does not say. Of several it is the newest.
func FieldManagerOf(u *unstructured.Unstructured, path ...string) (manager string, at time.Time) {
	for _, entry := range u.GetManagedFields() {
		if entry.FieldsV1 == nil {
			continue
		}
		var fields map[string]any
		if json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) != nil {
			continue
		}
		for i, name := range path {
			next, there := fields["f:"+name].(map[string]any)
			fields = next
			if !there {
				break
			}
			if i == len(path)-1 && (manager == "" || entry.Time != nil && entry.Time.After(at)) {
				manager, at = entry.Manager, time.Time{}
				if entry.Time != nil {
					at = entry.Time.Time
				}
			}
		}
	}
	return manager, at
}
