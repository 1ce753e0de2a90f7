# What is in the repository is what kubectl printed.
kubectl create deployment classifier --image="$REGISTRY_HOST/classifier:latest"
kubectl rollout status deployment classifier
mkdir -p kubernetes
kubectl get deployment classifier --output=yaml > kubernetes/deployment.yaml
