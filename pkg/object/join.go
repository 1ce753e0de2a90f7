package object

import (
	"fmt"
	"strings"
)

// joinLimit is how many names a sentence holds.
const joinLimit = 5

// JoinFirst joins the first few of many names: "a, b, c, d, e and 7 more".
func JoinFirst(names []string) string {
	if len(names) > joinLimit {
		return strings.Join(names[:joinLimit], ", ") + fmt.Sprintf(" and %d more", len(names)-joinLimit)
	}
	return strings.Join(names, ", ")
}
