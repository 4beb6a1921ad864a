# shellcheck shell=bash
# shellcheck disable=SC2034,SC2153 # The other parts use and set these.
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
PORTS=("$LOCAL_IP:2379" "$LOCAL_IP:2380" "$LOCAL_IP:5000" "$LOCAL_IP:8181" "$LOCAL_IP:10249" "$NODE_IP:53"
  "$NODE_IP:6443" "$NODE_IP:10250" "$NODE_IP:10256" "$NODE_IP:10257" "$NODE_IP:10259")

bare_up() {
  if bare_is_well; then
    say "the cluster is up: $KUBECONFIG_FILE"
    return
  fi
  # What would stop it in the end is said before ten minutes of building, not after.
  bare_packages
  if [ -f "$STATE/going" ]; then
    say "an earlier \`down\` was interrupted; finishing it"
    bare_down
  fi
  bare_check_disk
  end_strays
  bare_check_ports
  bare_build
  say "starting the cluster"
  mkdir -p "$STATE/bin" "$LOGS" "$RUN"
  ln -sfn "$KUBERNETES/kubectl" "$STATE/bin/kubectl"
  echo bare >"$STATE/provider"
  rm -f "$STATE/ready"
  bare_network
  bare_cgroups
  bare_certificates
  bare_configure
  bare_start_all
  bare_await
  bare_fingerprint >"$STATE/ready"
  say "the cluster is up: export KUBECONFIG=$KUBECONFIG_FILE"
}

bare_packages() {
  need_root "a cluster without Docker"
  need_packages etcd=etcd-server containerd=containerd runc=runc iptables=iptables ip=iproute2 ss=iproute2 \
    conntrack=conntrack openssl=openssl python3=python3 curl=curl mmdebstrap=mmdebstrap \
    /etc/ssl/certs/ca-certificates.crt=ca-certificates /usr/lib/cni/ptp=containernetworking-plugins \
    /usr/share/keyrings/debian-archive-keyring.gpg=debian-archive-keyring
}

bare_build() {
  bare_packages
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

bare_load_image() {
  local what=${1:-} cached
  [ -n "$what" ] || die "load-image needs a file or a name"
  wait_until 1 component_is_ready containerd || die "there is no cluster to load an image into" "run: $0 up"
  if [ ! -f "$what" ]; then
    cached=${what#docker.io/library/}
    cached=${cached/:/-}
    if [ "$what" = crunchy ] || [ -n "${POSTGRES_SUITE[${cached#postgres-}]:-}" ]; then
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

need_cluster() { [ -f "$KUBECONFIG_FILE" ] || die "there is no cluster" "run: $0 up"; }

bare_kubeconfig() {
  need_cluster
  echo "$KUBECONFIG_FILE"
}

# The cluster's own kubectl, so that none needs to be installed.
bare_kubectl() { KUBECONFIG=$KUBECONFIG_FILE "$STATE/bin/kubectl" "$@"; }

# shellcheck disable=SC2016 # The reader's PATH is meant.
bare_shell_env() { printf 'PATH=%q:"$PATH"\n' "$STATE/bin"; }

bare_audit_log() {
  need_cluster
  echo "$LOGS/audit.log"
}

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

bare_kill() {
  known_component "${1:-}"
  kill_now "$1"
}

bare_start() {
  known_component "${1:-}"
  need_cluster
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
  mkdir -p "$RUN" "$LOGS"
  touch "$STATE/going"
  rm -f "$STATE/ready"
  local name
  bare_nfs_down
  bare_gluster_down
  # The kubelet first, or it would start again what is ended here.
  kill_now kubelet
  for name in kube-proxy coredns local-path-provisioner kube-scheduler kube-controller-manager kube-apiserver etcd; do
    kill_now "$name"
  done
  end_strays
  bare_end_containers
  kill_now no-registry
  bare_unmount
  bare_clear_network
  say "removing the cluster's state"
  find "$STATE" -mindepth 1 -maxdepth 1 ! -name containerd ! -name imported ! -name going -exec rm -rf {} +
  rm -rf "$RUN" "$STATE/going"
  say "the cluster is gone"
}

bare_clean() {
  bare_down
  rm -rf "$STATE"
}
