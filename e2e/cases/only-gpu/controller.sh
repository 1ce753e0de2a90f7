# One node has one GPU.
node=$(kubectl get nodes --output='jsonpath={.items[0].metadata.name}')
kubectl patch node "$node" --subresource=status --type=merge --patch='{"status": {"capacity": {"nvidia.com/gpu": "1"}, "allocatable": {"nvidia.com/gpu": "1"}}}'
