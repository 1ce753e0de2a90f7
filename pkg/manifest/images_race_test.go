package manifest

import (
	"sync"
	"testing"
)

// TestImagesOnlyRead holds that asking for the images changes nothing, not even to the
// same: it is done while the objects are read for the dry run, and a map that is
// written meanwhile ends the process. The race detector sees it.
func TestImagesOnlyRead(t *testing.T) {
	t.Parallel()
	set, err := load(t, deployment+"---\napiVersion: example.com/v1\nkind: Model\nmetadata: {name: m}\nspec: {image: r/m:1}\n"+
		"---\napiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: m}\nspec: {predictor: {model: {image: r/m:1}}}\n")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			if len(set.Images()) < 3 {
				t.Error("some images are missing")
			}
		})
	}
	group.Wait()
}
