#!/bin/bash
# Process 1 of the NFS node: what an init system would do for a kubelet, and no more. Its configuration and its logs are in a
# folder of the machine's, /share.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
for folder in /dev/shm /run /tmp; do mount -t tmpfs tmpfs "$folder"; done
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -sf /proc/self/fd /dev/fd
ln -sf /proc/self/mounts /etc/mtab
modprobe -a virtio_pci virtio_net 9p 9pnet_virtio overlay veth nf_conntrack nfsv4
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 share /share
# shellcheck source=/dev/null # NODE NODE_IP GATEWAY INSTANCE
. /share/node.env

hostname "$NODE"
ip link set lo up
ip link set eth0 up
ip address add "$NODE_IP/24" dev eth0
ip route add default via "$GATEWAY"
echo 1 >/proc/sys/net/ipv4/ip_forward

for controller in cpu cpuset io memory pids hugetlb; do
  echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
done 2>/dev/null
mkdir -p "/sys/fs/cgroup/$INSTANCE" "/run/$INSTANCE" /state/kubelet
cp -r /share/config /share/pki /state/
cp /share/config/kubeconfig /state/kubeconfig

# run NAME COMMAND: again and again, with its log on the machine.
run() {
  local name=$1
  shift
  while true; do
    setsid "$@" >>"/share/log/$name.log" 2>&1 </dev/null
    echo "$name ended with $?" >>"/share/log/$name.log"
    sleep 1
  done
}
run containerd containerd --config /state/config/containerd.toml &
run kube-proxy /opt/kube-proxy --config=/state/config/kube-proxy.yaml &
until [ -S "/run/$INSTANCE/containerd.sock" ]; do sleep 0.2; done
run kubelet /opt/kubelet --config=/state/config/kubelet.yaml --kubeconfig=/state/kubeconfig --hostname-override="$NODE" \
  --node-ip="$NODE_IP" --root-dir=/state/kubelet --node-labels=storage=nfs &
while true; do wait -n || sleep 1; done
