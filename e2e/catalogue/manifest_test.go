package catalogue_test

import (
	"strings"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
)

// pod is the template of every workload; PLACE lets a case add lines to it.
const pod = `    metadata: {labels: {app: model}}
    spec:
      terminationGracePeriodSeconds: 1
      PODSPEC
      containers:
        - name: model
          image: IMAGE
          ports: [{name: http, containerPort: 3000}]
          CONTAINER
`

const readiness = `readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 1}`

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: model}
spec:
  replicas: 3
  SPEC
  selector: {matchLabels: {app: model}}
  template:
` + pod

const service = `---
apiVersion: v1
kind: Service
metadata: {name: model}
spec:
  type: LoadBalancer
  selector: {app: model}
  ports: [{name: http, port: 80, targetPort: http}]
`

const statefulSet = `apiVersion: apps/v1
kind: StatefulSet
metadata: {name: model}
spec:
  replicas: 3
  minReadySeconds: 0
  serviceName: model
  selector: {matchLabels: {app: model}}
  template:
` + pod

const daemonSet = `apiVersion: apps/v1
kind: DaemonSet
metadata: {name: model}
spec:
  minReadySeconds: 0
  selector: {matchLabels: {app: model}}
  template:
` + pod

// manifest fills a text's places in: pairs of a place and its lines. A place
// that gets none is taken out, but a container has its readiness probe.
func manifest(text string, places ...string) string {
	fill := map[string]string{"SPEC": "minReadySeconds: 0", "PODSPEC": "", "CONTAINER": readiness, "IMAGE": localcloud.RegistryHost + "/" + cloudtest.Model + ":latest"}
	for i := 0; i < len(places); i += 2 {
		fill[places[i]] = places[i+1]
	}
	var lines []string
	for line := range strings.Lines(text) {
		bare := strings.TrimSpace(line)
		if value, ok := fill[bare]; ok {
			indent := line[:strings.Index(line, bare)]
			for _, l := range strings.Split(value, "\n") {
				if l != "" {
					lines = append(lines, indent+l+"\n")
				}
			}
			continue
		}
		lines = append(lines, strings.ReplaceAll(line, "IMAGE", fill["IMAGE"]))
	}
	return strings.Join(lines, "")
}
