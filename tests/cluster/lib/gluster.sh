# shellcheck shell=bash
# A shared file system, mounted on the node: a GlusterFS volume of one brick, served and mounted by this machine.

GLUSTER_STATE=$STATE/gluster
GLUSTER_MOUNT=$GLUSTER_STATE/mount
GLUSTER_VOLUME=pgset-test

bare_gluster() {
  need_root "a GlusterFS volume"
  need_cluster
  need_packages glusterd=glusterfs-server mount.glusterfs=glusterfs-client
  if gluster_is_mounted; then
    echo "$GLUSTER_MOUNT"
    return
  fi
  # A mount whose process died is none, but it is in the way of another.
  umount -l "$GLUSTER_MOUNT" 2>/dev/null || true
  gluster_serve
  # GlusterFS remembers a volume after its brick has gone.
  [ -d "$GLUSTER_STATE/brick/.glusterfs" ] || gluster_forget
  mkdir -p "$GLUSTER_STATE/brick" "$GLUSTER_MOUNT"
  # By the node's own address: a peer called localhost is refused, and a brick below / has to be forced.
  if ! gluster --mode=script volume info "$GLUSTER_VOLUME" >/dev/null 2>&1; then
    gluster --mode=script volume create "$GLUSTER_VOLUME" "$NODE_IP:$GLUSTER_STATE/brick" force >&2
  fi
  gluster --mode=script volume start "$GLUSTER_VOLUME" force >&2
  # The mount leaves a process behind, for as long as it lasts.
  (close_files && mount -t glusterfs "$NODE_IP:/$GLUSTER_VOLUME" "$GLUSTER_MOUNT") >"$LOGS/gluster/mount.log" 2>&1 </dev/null ||
    die "the GlusterFS volume cannot be mounted" "its logs are in /var/log/glusterfs"
  chmod 777 "$GLUSTER_MOUNT"
  echo "$GLUSTER_MOUNT"
}

gluster_serve() {
  mkdir -p "$GLUSTER_STATE" "$LOGS/gluster"
  launch glusterd glusterd --no-daemon --log-file="$LOGS/gluster/glusterd.log" --pid-file="$GLUSTER_STATE/glusterd.pid"
  wait_ready glusterd 30 gluster --mode=script volume list
}

# Stopping a volume also ends the processes that serve its bricks.
gluster_forget() {
  gluster --mode=script volume stop "$GLUSTER_VOLUME" force >/dev/null 2>&1 || true
  gluster --mode=script volume delete "$GLUSTER_VOLUME" >/dev/null 2>&1 || true
}

gluster_is_mounted() { mountpoint -q "$GLUSTER_MOUNT"; }

bare_gluster_down() {
  need_root "removing the GlusterFS volume"
  umount "$GLUSTER_MOUNT" 2>/dev/null || umount -l "$GLUSTER_MOUNT" 2>/dev/null || true
  # A glusterd that died is needed once more, for what it left running and for what it remembers.
  if [ -d "/var/lib/glusterd/vols/$GLUSTER_VOLUME" ] && command -v glusterd >/dev/null; then
    if (gluster_serve); then gluster_forget; fi
  fi
  halt glusterd
  rm -rf --one-file-system "$GLUSTER_STATE"
}
