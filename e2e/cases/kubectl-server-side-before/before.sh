# The end of the workflow that this action replaces.
kubectl apply --server-side -f - <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: {name: classifier}
spec:
  minReadySeconds: 0
  selector: {matchLabels: {app: classifier}}
  template:
    metadata: {labels: {app: classifier}}
    spec:
      containers:
        - name: classifier
          image: $REGISTRY_HOST/classifier:0000000
          env: [{name: OLD_FLAG, value: "1"}]
YAML
