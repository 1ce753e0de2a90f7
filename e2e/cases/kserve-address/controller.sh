# KServe: the URL is where the model is to be asked.
until kubectl get inferenceservice classifier >/dev/null 2>&1; do sleep 0.2; done
generation=$(kubectl get inferenceservice classifier --output='jsonpath={.metadata.generation}')
kubectl patch inferenceservice classifier --subresource=status --type=merge --patch='{"status": {
  "observedGeneration": '"$generation"', "url": "http://classifier.models.example.com", "address": {"url": "http://classifier.models.svc.cluster.local"},
  "conditions": [{"type": "Ready", "status": "True"}, {"type": "PredictorReady", "status": "True"}]}}'
