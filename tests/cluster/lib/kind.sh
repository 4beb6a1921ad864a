# shellcheck shell=bash
# A cluster with kind, where a Docker engine answers.

KIND_CLUSTER=pgset-test
KIND_NODE=$KIND_CLUSTER-control-plane
KIND_STATIC_PODS=/etc/kubernetes/manifests

docker_answers() { type -P docker >/dev/null && timeout 10 docker info >/dev/null 2>&1; }

kind_is_usable() { type -P kind >/dev/null && docker_answers; }

kind_exists() { kind get clusters 2>/dev/null | grep -qxF "$KIND_CLUSTER"; }

kind_up() {
  type -P kind >/dev/null || die "kind is missing" "install it, or set PGSET_TEST_PROVIDER=bare"
  docker_answers || die "no Docker engine answers" "start it, or set PGSET_TEST_PROVIDER=bare"
  mkdir -p "$STATE/audit" "$STATE/log"
  if [ -f "$STATE/kind.half" ] && kind_exists; then
    say "an earlier \`up\` was interrupted; beginning again"
    kind delete cluster --name "$KIND_CLUSTER" 2>/dev/null
  fi
  if ! kind_exists; then
    touch "$STATE/kind.half"
    cp "$HERE/config/audit-policy.yaml" "$STATE/audit/policy.yaml"
    sed -e "s|@STATE@|$STATE|g" "$HERE/config/kind.yaml" >"$STATE/kind.yaml"
    slowly "making a cluster with kind" "$STATE/log/kind.log" kind create cluster --name "$KIND_CLUSTER" \
      --config "$STATE/kind.yaml" --kubeconfig "$STATE/kubeconfig" --wait 120s
    echo kind >"$STATE/provider"
    rm -f "$STATE/kind.half"
  elif ! kind_kubectl get --raw /readyz >/dev/null 2>&1; then
    say "the kind cluster does not answer; starting its node"
    docker start "$KIND_NODE" >/dev/null || die "kind's node $KIND_NODE does not start" "run: $0 down && $0 up"
    kind export kubeconfig --name "$KIND_CLUSTER" --kubeconfig "$STATE/kubeconfig" 2>/dev/null
    kind_start kube-apiserver
  fi
  kind_images
  say "the cluster is up: export KUBECONFIG=$STATE/kubeconfig"
}

# The images that the cache has, else the engine's, else a registry's: kind's node can pull what is missing.
kind_images() {
  local version present
  present=$(docker exec "$KIND_NODE" crictl images -o json 2>/dev/null || true)
  for version in "${!POSTGRES_SUITE[@]}"; do
    if grep -qF "\"docker.io/library/postgres:$version\"" <<<"$present"; then continue; fi
    kind_load_image "postgres:$version" ||
      say "note: postgres:$version is not loaded; the cluster will pull it when it is wanted"
  done
  # These are nowhere to be pulled from, and made from an image that only root can make.
  if [ -f "$(image_file crunchy)" ]; then
    kind_load_image crunchy || say "note: the stand-ins for the Crunchy images are not loaded"
  fi
}

kind_load_image() {
  local what=${1:-} file
  [ -n "$what" ] || die "load-image needs a file or a name"
  if [[ $what =~ ^postgres:[0-9]+$ && -n "${POSTGRES_SUITE[${what#postgres:}]:-}" ]]; then
    file=$(image_file "${what/:/-}")
    if [ -f "$file" ]; then what=$file; fi
  elif [ "$what" = crunchy ]; then
    what=$(image_file crunchy)
  fi
  if [ -f "$what" ]; then
    kind load image-archive "$what" --name "$KIND_CLUSTER" >&2
  else
    docker image inspect "$what" >/dev/null 2>&1 || docker pull "$what" >&2 || return 1
    kind load docker-image "$what" --name "$KIND_CLUSTER" >&2
  fi
}

kind_kubeconfig() {
  [ -f "$STATE/kubeconfig" ] || die "there is no cluster" "run: $0 up"
  echo "$STATE/kubeconfig"
}

# kind's node has a kubectl, so none needs to be installed.
kind_kubectl() {
  if type -P kubectl >/dev/null; then
    kubectl --kubeconfig "$STATE/kubeconfig" "$@"
  else
    docker exec -i "$KIND_NODE" kubectl --kubeconfig /etc/kubernetes/admin.conf "$@"
  fi
}

kind_shell_env() { :; }
kind_build() { :; }
kind_status() {
  kind_kubeconfig >/dev/null
  kind_kubectl get nodes -o wide
}
kind_audit_log() { echo "$STATE/audit/audit.log"; }

kind_component() {
  case ${1:-} in
    kube-apiserver | kube-controller-manager | kube-scheduler | etcd) ;;
    *) die "kind's cluster has no component \"${1:-}\" that can be stopped from here" \
      "one of: etcd kube-apiserver kube-controller-manager kube-scheduler" ;;
  esac
}

# The kubelet runs a control plane's component while its manifest is there.
kind_stop() {
  kind_component "${1:-}"
  docker exec "$KIND_NODE" sh -c "if [ -f $KIND_STATIC_PODS/$1.yaml ]; then mv $KIND_STATIC_PODS/$1.yaml /root/; fi"
  wait_until 60 kind_is_stopped "$1" || die "$1 does not stop"
}

kind_kill() { kind_stop "$@"; }

kind_is_stopped() { [ -z "$(docker exec "$KIND_NODE" crictl ps -q --name "^$1\$")" ]; }

kind_start() {
  kind_component "${1:-}"
  docker exec "$KIND_NODE" sh -c "if [ -f /root/$1.yaml ]; then mv /root/$1.yaml $KIND_STATIC_PODS/; fi"
  wait_until 90 kind_kubectl get --raw /readyz || die "$1 does not start" "look at: docker exec $KIND_NODE crictl ps -a"
}

kind_logs() { die "kind keeps the logs in its node" "run: docker exec $KIND_NODE crictl logs …, or kind export logs"; }
kind_pid() { die "kind's processes are in its node" "run: docker exec $KIND_NODE crictl ps"; }

kind_down() {
  say "deleting the kind cluster"
  kind delete cluster --name "$KIND_CLUSTER" 2>&1 >/dev/null | cat >&2
  rm -rf "${STATE:?}/audit" "$STATE/log" "$STATE"/kind.{yaml,half} "$STATE/kubeconfig" "$STATE/provider"
}

kind_clean() { kind_down; }
