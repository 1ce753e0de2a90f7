#!/bin/sh
# Runs inside the node's container: makes its own cgroups writable, then runs
# containerd and the kubelet until one of them ends, or whoever started the node
# is gone. NODE_NAME, POD_CIDR, API_SERVER and HTTPS_PROXY come from the
# environment; /node holds what the test made.
set -eu
exec >/node/start.log 2>&1

# A private cgroup namespace is mounted read-only; mounted again it is writable,
# and all that the kubelet makes stays below the container's own cgroup.
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
  mount -o remount,rw /sys/fs/cgroup
  mkdir -p /sys/fs/cgroup/node
  for p in $(cat /sys/fs/cgroup/cgroup.procs); do echo "$p" >/sys/fs/cgroup/node/cgroup.procs 2>/dev/null || true; done
  sed 's/ / +/g; s/^/+/' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
else
  for dir in /sys/fs/cgroup/*; do
    mountpoint -q "$dir" || continue
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

# The kubelet sets these for the whole machine. It is given files to write to
# instead, so that there is nothing to restore.
for name in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
  [ -e "/proc/sys/$name" ] || continue
  mkdir -p "/run/sysctl/$(dirname "$name")"
  cat "/proc/sys/$name" >"/run/sysctl/$name"
  mount --bind "/run/sysctl/$name" "/proc/sys/$name"
done

# The host reaches pods at the node: their addresses are of the node's own network.
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/ipv4/conf/eth0/proxy_arp
echo 0 >/proc/sys/net/ipv4/neigh/eth0/proxy_delay
node_ip=$(hostname -i)

touch /node/prepared # what a container may lack the privileges for is done

mkdir -p /etc/cni/net.d
cat >/etc/cni/net.d/10-pods.conflist <<E
{"cniVersion":"0.4.0","name":"pods","plugins":[
 {"type":"ptp","ipMasq":true,"ipam":{"type":"host-local","subnet":"$POD_CIDR","routes":[{"dst":"0.0.0.0/0"}]}},
 {"type":"portmap","capabilities":{"portMappings":true}}]}
E

SSL_CERT_FILE=/node/roots.crt containerd --config /node/containerd.toml >/node/containerd.log 2>&1 &
containerd=$!
unset HTTPS_PROXY
until ctr version >/dev/null 2>&1; do
  kill -0 $containerd
  sleep 0.1
done
ctr -n k8s.io images import /node/pause.tar >/dev/null

set -- --kubeconfig=/node/kubeconfig --config=/node/kubelet.yaml --hostname-override="$NODE_NAME" --node-ip="$node_ip"
if [ -d /node/logins ]; then
  set -- "$@" --image-credential-provider-config=/node/logins.json --image-credential-provider-bin-dir=/node/logins
fi
kubelet "$@" >/node/kubelet.log 2>&1 &

kubelet=$!

# The shell is the container's first process: it takes the orphans of containerd.
trap 'exit 0' TERM INT
misses=0
while [ $misses -lt 6 ] && kill -0 $kubelet && kill -0 $containerd; do
  sleep 5 &
  wait $!
  if bash -c "exec 3<>/dev/tcp/${API_SERVER%:*}/${API_SERVER##*:}"; then misses=0; else misses=$((misses + 1)); fi
done
exit 1
