#!/bin/sh
# Runs inside the node's container: makes its own cgroups writable, then runs
# containerd and the kubelet until one of them ends. NODE_NAME, NODE_IP and
# POD_CIDR come from the environment; /node holds what the test made: the
# kubelet, its kubeconfig, certificates and the pause image.
set -eu

# A private cgroup namespace is mounted read-only; mounted again it is writable,
# and all that the kubelet makes stays below the container's own cgroup.
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
  mount -o remount,rw /sys/fs/cgroup
  mkdir -p /sys/fs/cgroup/node
  for p in $(cat /sys/fs/cgroup/cgroup.procs); do echo "$p" >/sys/fs/cgroup/node/cgroup.procs 2>/dev/null || true; done
  sed 's/ / +/g; s/^/+/' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
else
  for dir in /sys/fs/cgroup/*; do
    name=$(basename "$dir")
    case "$name" in
      systemd) options=none,name=systemd ;;
      *) options=$name ;;
    esac
    umount "$dir"
    mount -t cgroup -o "$options" cgroup "$dir"
  done
fi
mount --make-rshared /

mkdir -p /etc/containerd /etc/cni/net.d /opt/cni
ln -sfn /usr/lib/cni /opt/cni/bin
cat >/etc/cni/net.d/10-pods.conflist <<E
{"cniVersion":"0.4.0","name":"pods","plugins":[
 {"type":"ptp","ipMasq":true,"ipam":{"type":"host-local","subnet":"$POD_CIDR","routes":[{"dst":"0.0.0.0/0"}]}},
 {"type":"portmap","capabilities":{"portMappings":true}}]}
E
cp /node/containerd.toml /etc/containerd/config.toml

containerd >/node/containerd.log 2>&1 &
until ctr version >/dev/null 2>&1; do sleep 0.1; done
ctr -n k8s.io images import /node/pause.tar >/dev/null

exec /node/kubelet --kubeconfig=/node/kubelet.kubeconfig --config=/node/kubelet.yaml \
  --hostname-override="$NODE_NAME" --node-ip="$NODE_IP" >/node/kubelet.log 2>&1
