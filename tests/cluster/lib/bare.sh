# shellcheck shell=bash
# The cluster without Docker: one node made of plain processes on this machine.
#
# The node has an address of its own on the loopback interface, and everything listens there or on a loopback address of
# our own. So nothing can be reached from outside, no port of the machine's is taken, and nothing changes when the
# machine's own address does.

NODE=pgset-test
NODE_IP=10.245.0.1
LOCAL_IP=127.245.0.1
POD_CIDR=10.244.0.0/16
NODE_POD_CIDR=10.244.0.0/24
SERVICE_CIDR=10.96.0.0/16
API_SERVICE_IP=10.96.0.1
API_URL=https://$NODE_IP:6443

# A second cluster, with another PGSET_TEST_STATE, can live in a network namespace of its own.
INSTANCE=$(basename "$STATE")
RUN=/run/$INSTANCE
LOGS=$STATE/log
KUBECONFIG_FILE=$STATE/kubeconfig
CONTAINERD_SOCKET=$RUN/containerd.sock

COMPONENTS=(etcd kube-apiserver kube-controller-manager kube-scheduler no-registry containerd kubelet kube-proxy coredns
  local-path-provisioner)
# Every port the components listen on, with its address, for saying who has one already.
PORTS=("$LOCAL_IP:2379" "$LOCAL_IP:2380" "$LOCAL_IP:5000" "$LOCAL_IP:8181" "$LOCAL_IP:10249" "$NODE_IP:53" "$NODE_IP:6443"
  "$NODE_IP:10250" "$NODE_IP:10256" "$NODE_IP:10257" "$NODE_IP:10259")

bare_up() {
  if bare_is_well; then
    say "the cluster is up: $KUBECONFIG_FILE"
    return
  fi
  bare_build
  say "starting the cluster"
  mkdir -p "$STATE/bin" "$LOGS" "$RUN"
  ln -sfn "$KUBERNETES/kubectl" "$STATE/bin/kubectl"
  echo bare >"$STATE/provider"
  rm -f "$STATE/ready"
  bare_check_ports
  bare_network
  bare_cgroups
  bare_certificates
  bare_configure
  bare_start_all
  bare_await
  bare_fingerprint >"$STATE/ready"
  say "the cluster is up: export KUBECONFIG=$KUBECONFIG_FILE"
}

bare_build() {
  need_root "a cluster without Docker"
  need_packages etcd=etcd-server containerd=containerd runc=runc iptables=iptables ip=iproute2 ss=iproute2 \
    conntrack=conntrack openssl=openssl python3=python3 curl=curl mmdebstrap=mmdebstrap \
    /usr/lib/cni/ptp=containernetworking-plugins /usr/share/keyrings/debian-archive-keyring.gpg=debian-archive-keyring
  build_programs
  local image
  for image in $(all_images); do build_image "$image"; done
}

bare_fingerprint() { content_key "$HERE"/{cluster.sh,lib/*.sh,config/*} "$KUBERNETES" "$POSTGRES_RECIPE"; }

# Well is: every process runs, the API server is ready, and so is the node.
bare_is_well() {
  local name
  [ -f "$STATE/ready" ] || return 1
  for name in "${COMPONENTS[@]}"; do is_running "$name" || return 1; done
  api_get /readyz >/dev/null 2>&1 && node_is_ready || return 1
  if [ "$(bare_fingerprint)" != "$(cat "$STATE/ready")" ]; then
    say "note: these scripts are not the ones that made this cluster; \`down\` and \`up\` would renew it"
  fi
}

api_get() {
  curl -sf --max-time 5 --cacert "$STATE/pki/ca.crt" --cert "$STATE/pki/admin.crt" --key "$STATE/pki/admin.key" "$API_URL$1"
}

node_is_ready() {
  api_get "/api/v1/nodes/$NODE" | python3 -c '
import json, sys
conditions = json.load(sys.stdin)["status"]["conditions"]
sys.exit(not any(c["type"] == "Ready" and c["status"] == "True" for c in conditions))'
}

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

bare_network() {
  bare_save_sysctls
  echo 1 >/proc/sys/net/ipv4/ip_forward
  ip address replace "$NODE_IP/32" dev lo
  # What pods say to the world outside bears the machine's address.
  iptables -w -t nat -C POSTROUTING "${MASQUERADE[@]}" 2>/dev/null || iptables -w -t nat -A POSTROUTING "${MASQUERADE[@]}"
}
MASQUERADE=(-s "$POD_CIDR" ! -d "$POD_CIDR" -m comment --comment "$INSTANCE" -j MASQUERADE)

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

# One CA for everything. Everyone who talks to the API server from this machine is an administrator: this is a test
# cluster, and the Node authorizer's race would cost a pod 10-15 s now and then.
bare_certificates() {
  [ ! -d "$STATE/pki" ] || return 0
  local new=$STATE/new.pki
  rm -rf "$new"
  mkdir -p "$new"
  (
    cd "$new"
    key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
    certificate() { # NAME SUBJECT ALTERNATIVE-NAMES
      key "$1"
      openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
      openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 \
        -extfile <(printf 'subjectAltName=%s\n' "$3") -out "$1.crt"
      rm "$1.csr"
    }
    key ca
    openssl req -x509 -new -key ca.key -days 3650 -subj /CN=pgset-test -out ca.crt
    service=kubernetes.default.svc
    certificate apiserver /CN=kube-apiserver \
      "DNS:kubernetes,DNS:kubernetes.default,DNS:$service,DNS:$service.cluster.local,IP:$API_SERVICE_IP,IP:$NODE_IP"
    certificate kubelet "/O=system:nodes/CN=system:node:$NODE" "DNS:$NODE,IP:$NODE_IP"
    certificate admin /O=system:masters/CN=admin DNS:admin
    certificate aggregator /CN=aggregator DNS:aggregator
    key service-accounts
    openssl ec -in service-accounts.key -pubout -out service-accounts.pub
  ) 2>"$LOGS/pki.log" || die "openssl failed" "its words are in $LOGS/pki.log"
  mv "$new" "$STATE/pki"
}

bare_configure() {
  cat >"$KUBECONFIG_FILE.new" <<E
apiVersion: v1
kind: Config
clusters:
- name: pgset-test
  cluster: {server: "$API_URL", certificate-authority-data: $(base64 -w0 "$STATE/pki/ca.crt")}
users:
- name: admin
  user: {client-certificate-data: $(base64 -w0 "$STATE/pki/admin.crt"), client-key-data: $(base64 -w0 "$STATE/pki/admin.key")}
contexts:
- name: pgset-test
  context: {cluster: pgset-test, user: admin}
current-context: pgset-test
E
  chmod 600 "$KUBECONFIG_FILE.new"
  mv "$KUBECONFIG_FILE.new" "$KUBECONFIG_FILE"
  local file
  mkdir -p "$STATE/config/cni" "$STATE/config/registries/_default" "$STATE/volumes" "$STATE/cni"
  for file in "$HERE"/config/*; do
    sed -e "s|@STATE@|$STATE|g" -e "s|@RUN@|$RUN|g" -e "s|@INSTANCE@|$INSTANCE|g" -e "s|@NODE@|$NODE|g" -e "s|@NODE_IP@|$NODE_IP|g" \
      -e "s|@LOCAL_IP@|$LOCAL_IP|g" -e "s|@POD_CIDR@|$POD_CIDR|g" -e "s|@NODE_POD_CIDR@|$NODE_POD_CIDR|g" \
      -e "s|@PAUSE_IMAGE@|$PAUSE_IMAGE|g" -e "s|@BUSYBOX_IMAGE@|$BUSYBOX_IMAGE|g" \
      "$file" >"$STATE/config/$(basename "$file")"
  done
  mv "$STATE/config/cni.conflist" "$STATE/config/cni/10-$INSTANCE.conflist"
  mv "$STATE/config/hosts.toml" "$STATE/config/registries/_default/hosts.toml"
}

# run_component NAME: starts it with its flags, unless it runs.
run_component() {
  case $1 in
    etcd)
      launch etcd etcd --name=pgset-test --data-dir="$STATE/etcd" --unsafe-no-fsync \
        --listen-client-urls="http://$LOCAL_IP:2379" --advertise-client-urls="http://$LOCAL_IP:2379" \
        --listen-peer-urls="http://$LOCAL_IP:2380" --initial-advertise-peer-urls="http://$LOCAL_IP:2380" \
        --initial-cluster="pgset-test=http://$LOCAL_IP:2380"
      ;;
    kube-apiserver)
      launch kube-apiserver "$KUBERNETES/kube-apiserver" --etcd-servers="http://$LOCAL_IP:2379" \
        --bind-address="$NODE_IP" --advertise-address="$NODE_IP" --service-cluster-ip-range="$SERVICE_CIDR" \
        --tls-cert-file="$STATE/pki/apiserver.crt" --tls-private-key-file="$STATE/pki/apiserver.key" \
        --client-ca-file="$STATE/pki/ca.crt" --authorization-mode=Node,RBAC \
        --service-account-issuer=https://kubernetes.default.svc.cluster.local \
        --service-account-key-file="$STATE/pki/service-accounts.pub" \
        --service-account-signing-key-file="$STATE/pki/service-accounts.key" \
        --kubelet-client-certificate="$STATE/pki/admin.crt" --kubelet-client-key="$STATE/pki/admin.key" \
        --kubelet-certificate-authority="$STATE/pki/ca.crt" --kubelet-preferred-address-types=InternalIP \
        --requestheader-client-ca-file="$STATE/pki/ca.crt" --requestheader-allowed-names=aggregator \
        --requestheader-extra-headers-prefix=X-Remote-Extra- --requestheader-group-headers=X-Remote-Group \
        --requestheader-username-headers=X-Remote-User --proxy-client-cert-file="$STATE/pki/aggregator.crt" \
        --proxy-client-key-file="$STATE/pki/aggregator.key" \
        --audit-policy-file="$STATE/config/audit-policy.yaml" --audit-log-path="$LOGS/audit.log" \
        --audit-log-maxsize=200 --audit-log-maxbackup=1
      ;;
    kube-controller-manager)
      # Its own throttle would hold its start up for seconds.
      launch kube-controller-manager "$KUBERNETES/kube-controller-manager" --kubeconfig="$KUBECONFIG_FILE" \
        --bind-address="$NODE_IP" --leader-elect=false --use-service-account-credentials \
        --service-account-private-key-file="$STATE/pki/service-accounts.key" --root-ca-file="$STATE/pki/ca.crt" \
        --allocate-node-cidrs=false --cluster-cidr="$POD_CIDR" --kube-api-qps=200 --kube-api-burst=400
      ;;
    kube-scheduler)
      launch kube-scheduler "$KUBERNETES/kube-scheduler" --kubeconfig="$KUBECONFIG_FILE" --bind-address="$NODE_IP" \
        --leader-elect=false
      ;;
    no-registry) launch no-registry /usr/bin/python3 "$HERE/no_registry.py" "$LOCAL_IP" 5000 ;;
    containerd) launch containerd containerd --config "$STATE/config/containerd.toml" ;;
    kubelet)
      launch kubelet "$KUBERNETES/kubelet" --config="$STATE/config/kubelet.yaml" --kubeconfig="$KUBECONFIG_FILE" \
        --hostname-override="$NODE" --node-ip="$NODE_IP" --root-dir="$STATE/kubelet"
      ;;
    kube-proxy) launch kube-proxy "$KUBERNETES/kube-proxy" --config="$STATE/config/kube-proxy.yaml" ;;
    coredns) launch coredns "$KUBERNETES/coredns" -conf "$STATE/config/Corefile" ;;
    local-path-provisioner)
      launch local-path-provisioner "$LOCAL_PATH/local-path-provisioner" start --kubeconfig "$KUBECONFIG_FILE" \
        --config "$STATE/config/local-path.json" --namespace local-path-storage --helper-image "$BUSYBOX_IMAGE" \
        --helper-pod-file "$STATE/config/local-path-pod.yaml" \
        --service-account-name local-path-provisioner-service-account
      ;;
    *) die "there is no component \"$1\"" "one of: ${COMPONENTS[*]}" ;;
  esac
}

# component_is_ready NAME: what others may count on.
component_is_ready() {
  case $1 in
    etcd) curl -sf --max-time 2 "http://$LOCAL_IP:2379/health" ;;
    kube-apiserver) api_get /readyz ;;
    containerd) ctr -a "$CONTAINERD_SOCKET" version ;;
    kubelet) node_is_ready ;;
    coredns) curl -sf --max-time 2 "http://$LOCAL_IP:8181/ready" ;;
    *) is_running "$1" ;;
  esac
}

bare_start_all() {
  local image
  run_component etcd
  run_component no-registry
  run_component containerd
  wait_ready etcd 30 component_is_ready etcd
  run_component kube-apiserver
  wait_ready containerd 30 component_is_ready containerd
  bare_import_images
  wait_ready kube-apiserver 60 component_is_ready kube-apiserver
  run_component kube-controller-manager
  run_component kube-scheduler
  run_component kubelet
  run_component kube-proxy
  run_component coredns
  say "making the StorageClass"
  bare_kubectl apply --server-side --force-conflicts -f "$STATE/config/storage.yaml" >/dev/null
  run_component local-path-provisioner
}

# bare_await: until a pod can be made and will run.
bare_await() {
  say "waiting for the node"
  wait_ready kubelet 60 component_is_ready kubelet
  wait_ready kube-controller-manager 60 api_get /api/v1/namespaces/default/serviceaccounts/default
  wait_ready coredns 30 component_is_ready coredns
  local name
  for name in "${COMPONENTS[@]}"; do wait_ready "$name" 5 is_running "$name"; done
}

ctr() { command ctr -a "$CONTAINERD_SOCKET" -n k8s.io "$@"; }

bare_import_images() {
  local image present
  present=$(ctr images ls -q)
  for image in $(all_images); do
    bare_import "$(image_name "$image")" "$(image_file "$image")" "$present"
  done
}

# bare_import NAME FILE PRESENT: unless that very file was imported already and is still there.
bare_import() {
  local mark
  mark=$STATE/imported/$(basename "$2")
  if [ -f "$mark" ] && grep -qxF "$1" <<<"$3"; then return; fi
  slowly "importing $1" "$LOGS/import.log" command ctr -a "$CONTAINERD_SOCKET" -n k8s.io images import "$2"
  mkdir -p "$(dirname "$mark")"
  touch "$mark"
}

bare_load_image() {
  local what=${1:-} cached
  [ -n "$what" ] || die "load-image needs a file or a name"
  wait_until 1 component_is_ready containerd || die "there is no cluster to load an image into" "run: $0 up"
  if [ ! -f "$what" ]; then
    cached=${what#docker.io/library/}
    cached=${cached/:/-}
    if [ -n "${POSTGRES_SUITE[${cached#postgres-}]:-}" ]; then
      build_image "$cached"
      what=$(image_file "$cached")
    elif docker_answers; then
      docker save -o "$STATE/load-image.tar" "$what" || die "the Docker engine has no image \"$what\""
      what=$STATE/load-image.tar
    else
      die "there is no file \"$what\", and no Docker engine that could know an image of that name" \
        "write it to a file (docker save, buildah push … docker-archive:FILE) and give that"
    fi
  fi
  slowly "importing $1" "$LOGS/import.log" command ctr -a "$CONTAINERD_SOCKET" -n k8s.io images import "$what"
  rm -f "$STATE/load-image.tar"
}

bare_kubeconfig() { echo "$KUBECONFIG_FILE"; }

# The cluster's own kubectl, so that none needs to be installed.
bare_kubectl() { KUBECONFIG=$KUBECONFIG_FILE "$KUBERNETES/kubectl" "$@"; }

bare_shell_env() { printf 'PATH=%q:$PATH\n' "$STATE/bin"; }

bare_audit_log() { echo "$LOGS/audit.log"; }

bare_logs() {
  known_component "${1:-}"
  echo "$LOGS/$1.log"
}

bare_pid() {
  known_component "${1:-}"
  is_running "$1" || die "$1 does not run"
  cat "$RUN/$1.pid"
}

known_component() {
  [[ " ${COMPONENTS[*]} " == *" ${1:-none} "* ]] || die "there is no component \"${1:-}\"" "one of: ${COMPONENTS[*]}"
}

bare_stop() {
  known_component "${1:-}"
  halt "$1" 60
}

bare_start() {
  known_component "${1:-}"
  [ -f "$STATE/ready" ] || die "there is no cluster" "run: $0 up"
  run_component "$1"
  wait_ready "$1" 60 component_is_ready "$1"
}

bare_status() {
  local name state code=0
  if [ ! -f "$STATE/provider" ]; then
    echo "there is no cluster"
    return 1
  fi
  printf '%-24s %s\n' provider "bare: one node of plain processes, Kubernetes $KUBERNETES_VERSION" \
    kubeconfig "$KUBECONFIG_FILE" logs "$LOGS"
  for name in "${COMPONENTS[@]}"; do
    if ! is_running "$name"; then
      state="not running"
    elif component_is_ready "$name" >/dev/null 2>&1; then
      state="ready, PID $(cat "$RUN/$name.pid")"
    else
      state="not ready, PID $(cat "$RUN/$name.pid")"
    fi
    case $state in ready*) ;; *) code=1 ;; esac
    printf '%-24s %s\n' "$name" "$state"
  done
  return $code
}

# bare_down: ends everything and throws the cluster's state away. It takes nothing for granted, so that it clears up
# after any accident.
bare_down() {
  need_root "stopping the cluster"
  if [ ! -d "$STATE" ]; then
    say "there is no cluster"
    return
  fi
  say "stopping the cluster"
  rm -f "$STATE/ready"
  local name
  # The kubelet first, or it would start again what is ended here.
  kill_now kubelet
  for name in kube-proxy coredns local-path-provisioner kube-scheduler kube-controller-manager kube-apiserver etcd; do
    kill_now "$name"
  done
  bare_end_containers
  kill_now no-registry
  bare_unmount
  bare_clear_network
  say "removing the cluster's state"
  find "$STATE" -mindepth 1 -maxdepth 1 ! -name containerd ! -name imported -exec rm -rf {} +
  rm -rf "$RUN"
  say "the cluster is gone"
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
    umount "$folder" 2>/dev/null || umount -l "$folder" || say "cannot unmount $folder"
  done
  # Without its records an image store is of no use.
  if [ -z "$(ls "$STATE/imported" 2>/dev/null)" ]; then rm -rf "$STATE/containerd"; fi
}

bare_clear_network() {
  if [ -x "$KUBERNETES/kube-proxy" ]; then "$KUBERNETES/kube-proxy" --cleanup >"$LOGS/cleanup.log" 2>&1 || true; fi
  iptables -w -t nat -D POSTROUTING "${MASQUERADE[@]}" 2>/dev/null || true
  ip address delete "$NODE_IP/32" dev lo 2>/dev/null || true
  bare_restore_sysctls
}

bare_clean() {
  bare_down
  rm -rf "$STATE"
}
