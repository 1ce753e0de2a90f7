kubectl rollout pause deployment classifier
