# shellcheck shell=bash
# shellcheck disable=SC2034,SC2153 # The other parts use and set these.
# A second node with a real NFS client, beside a server for it.
#
# The machine's own kernel may have no NFS and cannot be given any, so the node is a virtual machine with Debian's kernel. It
# is emulated in software, which works everywhere and makes it some twenty times slower: it takes no pod that does not
# tolerate its taint. The server is a process on the machine.

NFS_NODE=nfs1
NFS_TAP=pgset-nfs
# The two ends of the cable between them.
NFS_SERVER_IP=10.99.0.1
NFS_NODE_IP=10.99.0.2
NFS_POD_CIDR=10.244.1.0/24

NFS_STATE=$STATE/nfs
NFS_EXPORTS=$NFS_STATE/exports
NFS_PACKAGES=containerd,runc,containernetworking-plugins,nfs-common,iptables,conntrack,kmod,iproute2,ca-certificates,busybox-static,util-linux,mount
NFS_SUITE=bookworm

# Built things: a kernel, an initial RAM disk and a disk, for this Kubernetes and these images.
nfs_disk() {
  echo "$CACHE/nfs-node-$(content_key "$HERE"/lib/nfs.sh "$HERE"/nfs/* "$KUBERNETES" "$(image_file pause)" "$(image_file postgres-17)")"
}

bare_nfs() {
  need_root "an NFS node"
  wait_until 1 node_is_ready || die "there is no cluster for an NFS node" "run: $0 up"
  need_packages qemu-system-x86_64=qemu-system-x86 /usr/share/seabios/bios-256k.bin=seabios mmdebstrap=mmdebstrap \
    mkfs.ext4=e2fsprogs ip=iproute2 openssl=openssl ganesha.nfsd=nfs-ganesha \
    "/usr/lib/$(uname -m)-linux-gnu/ganesha/libfsalvfs.so=nfs-ganesha-vfs"
  nfs_build
  nfs_network
  nfs_serve
  nfs_boot
  say "waiting for node $NFS_NODE"
  wait_until 300 nfs_node_is_settled || true
  if ! wait_until 1 nfs_node_is_ready; then
    tail -n 15 "$NFS_STATE/share/log/kubelet.log" "$LOGS/nfs-console.log" "$LOGS/nfs-node.log" >&2 || true
    die "node $NFS_NODE is not ready" "its logs are in $NFS_STATE/share/log and $LOGS/nfs-console.log"
  fi
  say "the NFS node is up: eval \"\$($0 network-env)\""
}

# What tests of network storage want to know.
bare_network_env() {
  need_cluster
  if is_running nfs-server; then
    printf 'export PGSET_TEST_NFS=%q PGSET_TEST_NFS_EXPORTS=%q\n' "$NFS_SERVER_IP" "$NFS_EXPORTS"
  fi
  if gluster_is_mounted; then printf 'export PGSET_TEST_GLUSTER=%q\n' "$GLUSTER_MOUNT"; fi
}

bare_nfs_down() {
  need_root "removing the NFS node"
  if [ -f "$KUBECONFIG_FILE" ] && api_get /readyz >/dev/null 2>&1; then
    bare_kubectl delete node "$NFS_NODE" --ignore-not-found >/dev/null || say "node $NFS_NODE is still known to the cluster"
  fi
  kill_now nfs-node
  nfs_end_strays
  kill_now nfs-server
  ip link delete "$NFS_TAP" 2>/dev/null || true
  if mountpoint -q "$NFS_EXPORTS"; then umount "$NFS_EXPORTS" 2>/dev/null || umount -l "$NFS_EXPORTS"; fi
  rm -rf "$NFS_STATE"
}

nfs_node_is_ready() {
  local NODE=$NFS_NODE
  node_is_ready
}

# Ready, or never going to be.
nfs_node_is_settled() { nfs_node_is_ready || ! is_running nfs-node; }

# A virtual machine that runs unrecorded would go on, unseen, at the cost of a processor.
nfs_end_strays() {
  local folder pid arguments
  for folder in /proc/[0-9]*; do
    { mapfile -d '' arguments <"$folder/cmdline"; } 2>/dev/null || continue
    [[ "${arguments[0]:-}" == *qemu-system-x86_64 && " ${arguments[*]} " == *"path=$NFS_STATE/share,"* ]] || continue
    pid=${folder#/proc/}
    if is_running nfs-node && [ "$(<"$RUN/nfs-node.pid")" = "$pid" ]; then continue; fi
    say "ending a stray NFS node, PID $pid"
    kill -KILL "$pid" 2>/dev/null || true
    wait_until 10 eval "! kill -0 $pid" || true
  done
}

# ---- what is built once ---------------------------------------------------------------------------------------------

nfs_build() {
  local disk new=$CACHE/new.nfs-node mirror
  disk=$(nfs_disk)
  if [ -f "$disk/disk.img" ]; then
    prune "$CACHE" nfs-node- "$(basename "$disk")"
    return
  fi
  need_space "$CACHE" 5000 "building the NFS node"
  build_image pause
  build_image postgres-17
  mirror=$(debian_mirror) || exit $?
  if mountpoint -q "$new/root/proc"; then umount "$new/root/proc"; fi
  rm -rf --one-file-system "$new"
  mkdir -p "$new/download"
  slowly "making the NFS node's file system from Debian's $NFS_SUITE (once; 1 min)" "$CACHE/log/nfs-root.log" \
    unshare --mount mmdebstrap --variant=minbase --mode=root --include="$NFS_PACKAGES" "$NFS_SUITE" "$new/root" "$mirror"
  slowly "fetching its kernel" "$CACHE/log/nfs-kernel.log" nfs_kernel "$new"
  slowly "putting the images on its disk" "$CACHE/log/nfs-images.log" nfs_images "$new"
  slowly "making its disk" "$CACHE/log/nfs-disk.log" nfs_make_disk "$new"
  mkdir "$new/done"
  mv "$new/disk.img" "$new/initrd.img" "$new/vmlinuz" "$new/done/"
  mv "$new/done" "$disk"
  rm -rf --one-file-system "$new"
}

# The kernel package that Debian's `linux-image-ARCHITECTURE` stands for, without what no virtual machine has.
nfs_kernel() {
  local new=$1 package modules folder
  need_apt_lists
  package=$(apt-cache depends linux-image-amd64 | awk '$1 == "Depends:" { print $2; exit }')
  env -C "$new/download" apt-get download -o APT::Sandbox::User=root "$package"
  dpkg-deb -x "$new/download/$package"_*.deb "$new/kernel"
  cp "$new"/kernel/boot/vmlinuz-* "$new/vmlinuz"
  modules=$(echo "$new"/kernel/lib/modules/*)
  for folder in sound drivers/gpu drivers/media drivers/infiniband drivers/scsi drivers/net/ethernet drivers/net/wireless \
    drivers/iio drivers/staging drivers/usb drivers/hwmon drivers/input; do
    rm -rf "$modules/kernel/$folder"
  done
  mkdir -p "$new/root/usr/lib/modules"
  mv "$modules" "$new/root/usr/lib/modules/"
  chroot "$new/root" depmod "$(basename "$modules")"
}

# Imported by a containerd of our own that writes where the node's will look: in the node it would take minutes.
nfs_images() {
  local new=$1 image pid socket
  socket=$(mktemp -u /run/pgset-nfs.XXXXXX)
  mkdir -p "$new/root/state/containerd" "$new/run"
  printf 'version = 2\nroot = "%s"\nstate = "%s"\n[grpc]\n  address = "%s"\n' "$new/root/state/containerd" "$new/run" \
    "$socket" >"$new/containerd.toml"
  containerd --config "$new/containerd.toml" &
  pid=$!
  wait_until 20 command ctr -a "$socket" version
  for image in pause postgres-17; do command ctr -a "$socket" -n k8s.io images import "$(image_file "$image")"; done
  kill "$pid"
  wait "$pid" || true
  rm -f "$socket" "$socket.ttrpc"
}

nfs_make_disk() {
  local new=$1 root=$1/root module number=10
  mkdir -p "$root"/{state,opt,share}
  cp "$KUBERNETES/kubernetes" "$root/opt/kubernetes"
  ln -s kubernetes "$root/opt/kubelet"
  ln -s kubernetes "$root/opt/kube-proxy"
  install -m 755 "$HERE/nfs/node.sh" "$root/sbin/node"
  truncate -s 6G "$new/disk.img"
  mkfs.ext4 -q -F -O ^has_journal -E lazy_itable_init=1,nodiscard -d "$root" "$new/disk.img"
  # The initial RAM disk has what it takes to mount that disk, in the order in which the modules need each other.
  mkdir -p "$new/initrd"/{bin,modules,proc,sys,dev,disk}
  cp "$root/bin/busybox" "$new/initrd/bin/busybox"
  install -m 755 "$HERE/nfs/init.sh" "$new/initrd/init"
  for module in $(nfs_modules "$root" | awk '!seen[$0]++'); do
    cp "$root$module" "$new/initrd/modules/$number-$(basename "$module")"
    number=$((number + 1))
  done
  (cd "$new/initrd" && find . | "$root/bin/busybox" cpio -o -H newc) >"$new/initrd.img"
}

nfs_modules() {
  local module version
  version=$(ls "$1/usr/lib/modules")
  for module in virtio_pci virtio_blk crc32c_generic ext4; do
    chroot "$1" modprobe --set-version "$version" --show-depends "$module" | awk '$1 == "insmod" { print $2 }'
  done
}

# ---- what runs ------------------------------------------------------------------------------------------------------

nfs_network() {
  if ! ip link show "$NFS_TAP" >/dev/null 2>&1; then
    ip tuntap add "$NFS_TAP" mode tap || die "cannot make a network device" "is there /dev/net/tun?"
  fi
  ip address replace "$NFS_SERVER_IP/24" dev "$NFS_TAP"
  ip link set "$NFS_TAP" up
  ip route replace "$NFS_POD_CIDR" via "$NFS_NODE_IP" dev "$NFS_TAP"
}

# In memory: what the tests want to know is not how fast this machine's disk is.
nfs_serve() {
  mkdir -p "$NFS_EXPORTS" "$NFS_STATE/recovery"
  mountpoint -q "$NFS_EXPORTS" || mount -t tmpfs -o size=1500m,mode=755 pgset-nfs "$NFS_EXPORTS"
  mkdir -p "$NFS_EXPORTS"/{pg,squash,ro,others,denied}
  chown 999:999 "$NFS_EXPORTS/pg"
  chmod 755 "$NFS_EXPORTS"/{pg,squash,ro,others,denied}
  cat >"$NFS_STATE/ganesha.conf" <<CONF
NFS_CORE_PARAM { Bind_addr = $NFS_SERVER_IP; NFS_Port = 2049; Protocols = 4; Enable_NLM = false; Enable_RQUOTA = false; }
NFSv4 {
  Minor_Versions = 1, 2; Graceless = true; Delegations = false; Only_Numeric_Owners = true;
  RecoveryBackend = fs; RecoveryRoot = $NFS_STATE/recovery;
}
EXPORT_DEFAULTS { Protocols = 4; Transports = TCP; SecType = sys; Access_Type = RW; Squash = no_root_squash; }
EXPORT { Export_Id = 1; Path = $NFS_EXPORTS/pg; Pseudo = /pg; FSAL { Name = VFS; } }
EXPORT { Export_Id = 2; Path = $NFS_EXPORTS/squash; Pseudo = /squash; Squash = root_squash; FSAL { Name = VFS; } }
EXPORT { Export_Id = 3; Path = $NFS_EXPORTS/ro; Pseudo = /ro; Access_Type = RO; FSAL { Name = VFS; } }
# For another machine than the node, and for clients with a Kerberos ticket alone.
EXPORT {
  Export_Id = 4; Path = $NFS_EXPORTS/others; Pseudo = /others; Access_Type = NONE; FSAL { Name = VFS; }
  CLIENT { Clients = 192.0.2.1; Access_Type = RW; }
}
EXPORT { Export_Id = 5; Path = $NFS_EXPORTS/denied; Pseudo = /denied; SecType = krb5; FSAL { Name = VFS; } }
LOG { Default_Log_Level = EVENT; }
CONF
  # Another server on all addresses would answer in this one's place.
  if ! is_running nfs-server && nfs_server_answers 2>/dev/null; then
    die "port 2049 is taken by another NFS server" "who has it: ss -ltnp sport = :2049"
  fi
  launch nfs-server ganesha.nfsd -F -f "$NFS_STATE/ganesha.conf" -L "$LOGS/ganesha.log" -p "$NFS_STATE/ganesha.pid"
  wait_ready nfs-server 20 nfs_server_answers
}

nfs_server_answers() { bash -c "exec 3<>/dev/tcp/$NFS_SERVER_IP/2049"; }

nfs_boot() {
  local disk
  disk=$(nfs_disk)
  if is_running nfs-node; then return; fi
  nfs_end_strays
  # What is known of a node that died says Ready for most of a minute.
  bare_kubectl delete node "$NFS_NODE" --ignore-not-found >/dev/null
  nfs_configure
  say "starting the NFS node"
  # By the variable and not by env, which would be recorded as a part of the command and never be found in it again.
  TMPDIR=$NFS_STATE launch nfs-node qemu-system-x86_64 -accel tcg,thread=multi,tb-size=512 -cpu max,la57=off \
    -machine q35,usb=off,vmport=off -smp 2 -m 3072 -nodefaults -display none -no-reboot -serial "file:$LOGS/nfs-console.log" \
    -kernel "$disk/vmlinuz" -initrd "$disk/initrd.img" \
    -append "console=ttyS0 quiet mitigations=off nokaslr no_timer_check audit=0 apparmor=0 nowatchdog random.trust_cpu=on cgroup_no_v1=all panic=1" \
    -drive "file=$disk/disk.img,if=virtio,format=raw,snapshot=on,cache=unsafe,aio=threads" \
    -netdev "tap,id=cable,ifname=$NFS_TAP,script=no,downscript=no" \
    -device virtio-net-pci,netdev=cable,mac=52:54:00:99:00:02,romfile= \
    -fsdev "local,id=share,path=$NFS_STATE/share,security_model=none,multidevs=remap" \
    -device virtio-9p-pci,fsdev=share,mount_tag=share -device virtio-rng-pci
}

# The node's configuration is that of the first node, with other addresses and in other folders.
nfs_configure() {
  local share=$NFS_STATE/share
  mkdir -p "$share"/{log,config/cni,config/registries,pki}
  nfs_certificate "$share/pki"
  cp "$STATE/pki/ca.crt" "$share/pki/"
  nfs_fill_in "$share/config"
  printf '%s=%s\n' NODE "$NFS_NODE" NODE_IP "$NFS_NODE_IP" GATEWAY "$NFS_SERVER_IP" INSTANCE "$INSTANCE" >"$share/node.env"
}

nfs_fill_in() {
  local file to=$1 DNS_IP=$NODE_IP PKI=$STATE/pki
  local NODE=$NFS_NODE NODE_IP=$NFS_NODE_IP NODE_POD_CIDR=$NFS_POD_CIDR STATE=/state RUN=/run/$INSTANCE
  for file in containerd.toml kubelet.yaml kube-proxy.yaml kubeconfig; do filled_in "$HERE/config/$file" >"$to/$file"; done
  filled_in "$HERE/config/cni.conflist" >"$to/cni/10-$INSTANCE.conflist"
  echo 'registerWithTaints: [{key: nfs, value: only, effect: NoSchedule}]' >>"$to/kubelet.yaml"
}

nfs_certificate() {
  [ ! -f "$1/kubelet.crt" ] || return 0
  (
    cd "$1"
    openssl ecparam -name prime256v1 -genkey -noout -out kubelet.key
    openssl req -new -key kubelet.key -subj "/O=system:nodes/CN=system:node:$NFS_NODE" -out kubelet.csr
    openssl x509 -req -in kubelet.csr -CA "$STATE/pki/ca.crt" -CAkey "$STATE/pki/ca.key" -CAserial ca.srl -CAcreateserial \
      -days 3650 -extfile <(printf 'subjectAltName=DNS:%s,IP:%s\n' "$NFS_NODE" "$NFS_NODE_IP") -out kubelet.crt.new
    mv kubelet.crt.new kubelet.crt
  ) 2>"$LOGS/nfs-pki.log" || die "openssl failed" "its words are in $LOGS/nfs-pki.log"
}
