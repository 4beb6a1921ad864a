# shellcheck shell=bash
# What the cluster without Docker does to the machine, and undoes: ports, disk, network, kernel settings, cgroups,
# mounts.

bare_check_ports() {
  local address holder
  for address in "${PORTS[@]}"; do
    holder=$(ss -Hltnp "( src $address or src 0.0.0.0:${address##*:} or src [::]:${address##*:} )" | head -n 1)
    [ -n "$holder" ] || continue
    case $holder in *"pid="*) ;; *) die "port $address is taken by a process outside this machine's view: $holder" ;; esac
    holder=${holder#*users:((\"}
    local program=${holder%%\"*} pid=${holder#*pid=}
    pid=${pid%%,*}
    bare_owns "$pid" || die "port $address, which the cluster needs, is taken by $program (PID $pid)" \
      "end that process, or use another cluster with PGSET_TEST_KUBECONFIG" \
      "it may belong to a cluster made with another PGSET_TEST_STATE: $(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c1-120)"
  done
}

bare_owns() {
  local name
  for name in "${COMPONENTS[@]}"; do
    if is_running "$name" && [ "$(cat "$RUN/$name.pid")" = "$1" ]; then return; fi
  done
  return 1
}

bare_check_disk() {
  mkdir -p "$STATE"
  need_space "$STATE" 1500 "the cluster"
  case $(stat -f -c %T "$STATE") in
    overlay* | nfs*) die "the file system of $STATE cannot hold containers' layers" \
      "set PGSET_TEST_STATE to a folder on a disk; in a container, on a volume" ;;
  esac
}

bare_network() {
  local rule
  bare_save_sysctls
  echo 1 >/proc/sys/net/ipv4/ip_forward
  ip address replace "$NODE_IP/32" dev lo
  for rule in "${PACKET_RULES[@]}"; do
    packet_rule -C "$rule" 2>/dev/null || packet_rule -A "$rule"
  done
}

# What pods say to the world outside bears the machine's address; and pods may be talked to even where the machine, or
# Docker on it, forwards nothing by default. Appended, so that what kube-proxy refuses stays refused.
PACKET_RULES=(
  "nat POSTROUTING -s $POD_CIDR ! -d $POD_CIDR -m comment --comment $INSTANCE -j MASQUERADE"
  "filter FORWARD -s $POD_CIDR -m comment --comment $INSTANCE -j ACCEPT"
  "filter FORWARD -d $POD_CIDR -m comment --comment $INSTANCE -j ACCEPT"
)

# packet_rule ACTION RULE
packet_rule() {
  local table chain words
  read -r table chain words <<<"$2"
  # shellcheck disable=SC2086 # They are words.
  iptables -w -t "$table" "$1" "$chain" $words
}

# What we and the kubelet set in the kernel, for `down` to set back.
SYSCTLS=(net/ipv4/ip_forward vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops
  kernel/keys/root_maxkeys kernel/keys/root_maxbytes)

bare_save_sysctls() {
  local name
  [ ! -f "$STATE/sysctls" ] || return 0
  for name in "${SYSCTLS[@]}"; do
    if [ -r "/proc/sys/$name" ]; then echo "$name $(<"/proc/sys/$name")"; fi
  done >"$STATE/sysctls.new"
  mv "$STATE/sysctls.new" "$STATE/sysctls"
}

bare_restore_sysctls() {
  local name value
  [ -f "$STATE/sysctls" ] || return 0
  while read -r name value; do echo "$value" 2>/dev/null >"/proc/sys/$name" || true; done <"$STATE/sysctls"
}

# Everything that runs in pods is below one cgroup of ours, so that `down` finds it, and another kubelet on this machine
# does not take our pods for its own orphans.
cgroup_folders() {
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    echo "/sys/fs/cgroup/$INSTANCE"
  else
    local hierarchy
    for hierarchy in /sys/fs/cgroup/*/; do
      if [ -f "$hierarchy/cgroup.procs" ]; then echo "$hierarchy$INSTANCE"; fi
    done
  fi
}

bare_cgroups() {
  local folder controller
  # With cgroups v2 a controller is to be had only where the parent gives it on.
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    for controller in $(</sys/fs/cgroup/cgroup.controllers); do
      echo "+$controller" 2>/dev/null >/sys/fs/cgroup/cgroup.subtree_control || true
    done
  fi
  for folder in $(cgroup_folders); do
    mkdir -p "$folder"
    # With cgroups v1 a new cpuset is empty, and so of no use.
    if [ -f "$folder/cpuset.cpus" ] && [ -f "$folder/tasks" ]; then
      cat "$folder/../cpuset.cpus" >"$folder/cpuset.cpus"
      cat "$folder/../cpuset.mems" >"$folder/cpuset.mems"
    fi
  done
}

# Ends the containers' processes, then their records. The images stay, unless containerd cannot be talked to any more.
bare_end_containers() {
  local folder pid ids
  for folder in $(cgroup_folders); do
    [ -d "$folder" ] || continue
    # Cgroups vanish while we look.
    for pid in $(find "$folder" -name cgroup.procs -exec cat {} + 2>/dev/null || true); do
      kill -KILL "$pid" 2>/dev/null || true
    done
  done
  if [ -f "$STATE/config/containerd.toml" ] && [ -d "$STATE/containerd" ]; then
    run_component containerd
    if wait_until 15 component_is_ready containerd; then
      mapfile -t ids < <(ctr tasks ls -q 2>/dev/null)
      [ ${#ids[@]} -eq 0 ] || ctr tasks delete -f "${ids[@]}" >/dev/null 2>&1 || true
      mapfile -t ids < <(ctr containers ls -q 2>/dev/null)
      [ ${#ids[@]} -eq 0 ] || ctr containers delete "${ids[@]}" >/dev/null 2>&1 || true
      [ -z "$(ctr containers ls -q 2>/dev/null)" ] || rm -f "$STATE"/imported/*
    else
      rm -f "$STATE"/imported/*
    fi
  fi
  halt containerd 10
  # Shims outlive containerd; ours are those that were given our socket.
  for folder in /proc/[0-9]*; do
    if is_our_shim "$folder"; then kill -KILL "${folder#/proc/}" 2>/dev/null || true; fi
  done
  for folder in $(cgroup_folders); do
    [ ! -d "$folder" ] || find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
}

is_our_shim() {
  local arguments
  { mapfile -d '' arguments <"$1/cmdline"; } 2>/dev/null || return 1
  [[ ${arguments[0]:-} == *containerd-shim* && " ${arguments[*]} " == *" $CONTAINERD_SOCKET "* ]]
}

# Volumes, root file systems and network namespaces, the innermost first.
bare_unmount() {
  local folder result container
  for result in "/var/lib/cni/results/$INSTANCE"-*-eth0; do
    [ -f "$result" ] || continue
    folder=$(sed -n 's|.*"\(/[a-z/]*run/netns/[^"]*\)".*|\1|p' "$result")
    if [ -n "$folder" ]; then
      umount "$folder" 2>/dev/null || true
      rm -f "$folder"
    fi
    container=${result##*/"$INSTANCE"-}
    rm -f "$result" "/var/lib/cni/results/cni-loopback-${container%-eth0}-lo"
  done
  awk -v state="$STATE/" -v run="$RUN/" 'index($5, state) == 1 || index($5, run) == 1 { print $5 }' /proc/self/mountinfo |
    sort -r | while read -r folder; do
    umount "$folder" 2>/dev/null || umount -l "$folder" || die "cannot unmount $folder"
  done
  # Without its records an image store is of no use.
  if [ -z "$(ls "$STATE/imported" 2>/dev/null)" ]; then rm -rf "$STATE/containerd"; fi
}

bare_clear_network() {
  if [ -x "$KUBERNETES/kube-proxy" ]; then "$KUBERNETES/kube-proxy" --cleanup >"$LOGS/cleanup.log" 2>&1 || true; fi
  local rule
  for rule in "${PACKET_RULES[@]}"; do packet_rule -D "$rule" 2>/dev/null || true; done
  ip address delete "$NODE_IP/32" dev lo 2>/dev/null || true
  bare_restore_sysctls
}
