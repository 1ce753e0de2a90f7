package deploy

import "github.com/org/deploy-model-action/pkg/manifest"

// warnAt warns of what stands in a manifest: in the log, and as an annotation there.
func (d *deployment) warnAt(use manifest.Use, title, message string) {
	at := d.manifests.Position(use.Object, use.Path)
	d.log.Printf("%s:%d: %s", at.File, at.Line, message)
	d.result.Warnings = append(d.result.Warnings, Problem{Title: title, Message: message, File: at.File, Line: at.Line})
}

// warn shows what the API server has warned of since it was asked last: in the
// log, and where it is about an object of the manifests, for annotations.
func (d *deployment) warn() {
	if d.client == nil {
		return
	}
	for _, w := range d.client.Warnings.Take() {
		if w.About.Kind == "" {
			d.log.Printf("Warning of the API server: %s", w.Text)
			continue
		}
		d.log.Printf("Warning of the API server about %s: %s", w.About, w.Text)
		if i := d.manifests.Find(w.About); i >= 0 {
			at := d.manifests.Position(i, "")
			d.result.Warnings = append(d.result.Warnings, Problem{Title: "Warning of the API server", Message: w.About.String() + ": " + w.Text, File: at.File, Line: at.Line})
		}
	}
}
