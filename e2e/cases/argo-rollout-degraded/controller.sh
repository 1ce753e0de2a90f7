# Argo Rollouts, whose observedGeneration is a string: no new pod becomes ready.
until kubectl get rollout.argoproj.io classifier >/dev/null 2>&1; do sleep 0.2; done
kubectl patch rollout.argoproj.io classifier --subresource=status --type=merge --patch='{"status": {
  "observedGeneration": "1", "phase": "Degraded", "replicas": 2, "updatedReplicas": 2, "readyReplicas": 0,
  "message": "ProgressDeadlineExceeded: ReplicaSet \"classifier-7d\" has timed out progressing."}}'
