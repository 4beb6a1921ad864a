#!/bin/sh
# Process 1 of one test container: builds its file system and becomes the pod's command. Called by pods.sh inside fresh mount
# and PID namespaces, with the pod's folder as $1; the rest is env's arguments.
set -eu
pod=$1
shift
# shellcheck source=/dev/null # ROOTFS SCRIPTS_SH CONFIG PASSWORDS STATE DATA HOSTS RESOLV, written by pods.sh.
. "$pod/container.env"

# The image, read-only but for what Kubernetes would mount.
mkdir -p "$pod/fs"
mount -t tmpfs tmpfs "$pod/fs"
mkdir "$pod/fs/upper" "$pod/fs/work" "$pod/fs/root"
mount -t overlay overlay -o "lowerdir=$ROOTFS,upperdir=$pod/fs/upper,workdir=$pod/fs/work" "$pod/fs/root"
root=$pod/fs/root
mkdir -p "$root/pgset/config" "$root/pgset/passwords" "$root/pgset/state" "$root/pgset/run" "$root/pgdata"
: >"$root/etc/hosts"
rm -f "$root/etc/resolv.conf"
: >"$root/etc/resolv.conf"
echo 'multi on' >"$root/etc/host.conf"
if [ "$SCRIPTS_SH" = busybox ]; then
  # /bin/sh and every applet are busybox, as in an Alpine image.
  mkdir "$root/busybox"
  mount --bind "$BUSYBOX" "$root/busybox"
  ln -sf /busybox/busybox "$root/usr/bin/sh"
fi
if [ -n "$WITHOUT_NAME" ]; then
  sed -i '/:999:/d' "$root/etc/passwd"
fi
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev"
for node in null zero full random urandom; do
  : >"$root/dev/$node"
  mount --bind "/dev/$node" "$root/dev/$node"
done
ln -s /proc/self/fd "$root/dev/fd"
mkdir -m 1777 "$root/dev/shm"
: >"$root/dev/termination-log"
mount --bind "$pod/termination-log" "$root/dev/termination-log"
mount --bind "$HOSTS" "$root/etc/hosts"
mount --bind "$RESOLV" "$root/etc/resolv.conf"
mount --bind "$CONFIG" "$root/pgset/config"
mount --bind "$PASSWORDS" "$root/pgset/passwords"
mount --bind "$STATE" "$root/pgset/state"
mount --bind "$pod/run" "$root/pgset/run"
mount --bind "$DATA" "$root/pgdata"
mount -o remount,ro "$root"

cd /
exec chroot --userspec="$RUN_AS" --groups= "$root" /usr/bin/env -i "$@" /bin/sh /pgset/config/start.sh
