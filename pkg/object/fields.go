package object

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// Map returns the map at a path, without copying it; nil if there is none.
func Map(m map[string]any, path ...string) map[string]any {
	for _, key := range path {
		m, _ = m[key].(map[string]any)
	}
	return m
}

// List returns the list at a path, without copying it; nil if there is none.
func List(m map[string]any, path ...string) []any {
	if len(path) == 0 {
		return nil
	}
	list, _ := Map(m, path[:len(path)-1]...)[path[len(path)-1]].([]any)
	return list
}

// Text returns the string at a path; "" if there is none.
func Text(u *unstructured.Unstructured, path ...string) string {
	s, _, _ := unstructured.NestedString(u.Object, path...)
	return s
}

// Number returns the whole number at a path, or otherwise if there is none.
func Number(u *unstructured.Unstructured, otherwise int64, path ...string) int64 {
	if n, ok, err := unstructured.NestedInt64(u.Object, path...); ok && err == nil {
		return n
	}
	return otherwise
}

// Flag returns the boolean at a path; false if there is none.
func Flag(u *unstructured.Unstructured, path ...string) bool {
	b, _, _ := unstructured.NestedBool(u.Object, path...)
	return b
}
