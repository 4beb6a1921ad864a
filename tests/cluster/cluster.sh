#!/bin/bash
# A Kubernetes cluster for pgset's tests. `cluster.sh help` lists the verbs; README.md says how it is made.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# What the cluster is made of. The Go modules' versions (Kubernetes, CoreDNS) are pinned by kubernetes/go.mod; etcd,
# containerd, runc and the CNI plugins are those of the machine's Debian.
KUBERNETES_VERSION=v1.36.3
LOCAL_PATH_VERSION=v0.0.30
# The cluster gets 15 and 17; the others are for the pods' scripts alone. No Debian has 14 or 16.
declare -A POSTGRES_SUITE=([18]=forky [17]=trixie [15]=bookworm [13]=bullseye)

# Where things are. Caches are keyed by version and content, so they never go stale; the state is one cluster's.
CACHE=${PGSET_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pgset-test}
if [ "$(id -u)" = 0 ]; then
  STATE=${PGSET_TEST_STATE:-/var/lib/pgset-test}
else
  STATE=${PGSET_TEST_STATE:-${XDG_STATE_HOME:-$HOME/.local/state}/pgset-test}
fi

# shellcheck source=lib/common.sh
. "$HERE/lib/common.sh"
# shellcheck source=lib/process.sh
. "$HERE/lib/process.sh"
# shellcheck source=lib/build.sh
. "$HERE/lib/build.sh"
# shellcheck source=lib/images.sh
. "$HERE/lib/images.sh"
# shellcheck source=lib/bare.sh
. "$HERE/lib/bare.sh"
# shellcheck source=lib/components.sh
. "$HERE/lib/components.sh"
# shellcheck source=lib/host.sh
. "$HERE/lib/host.sh"
# shellcheck source=lib/nfs.sh
. "$HERE/lib/nfs.sh"
# shellcheck source=lib/gluster.sh
. "$HERE/lib/gluster.sh"
# shellcheck source=lib/kind.sh
. "$HERE/lib/kind.sh"
# shellcheck source=lib/external.sh
. "$HERE/lib/external.sh"

usage() {
  cat <<E
usage: cluster.sh VERB

  up                   make the cluster, or mend it; does nothing when it is well
  down                 stop it and throw its state away; built programs and images stay
  status               what runs; exit code 0 when all is well
  kubeconfig           print the kubeconfig's path
  shell-env            print lines for eval: KUBECONFIG, and PATH with a kubectl on it
  kubectl ARGS         run kubectl against the cluster
  nodes                list the nodes
  load-image TAR|NAME  put an image into the cluster: a file that docker save or buildah wrote, postgres:15,
                       postgres:17, crunchy (the stand-ins for its images), or a name the Docker engine knows
  rootfs 13|15|17|18   print the path of an unpacked PostgreSQL image, to chroot into; needs no cluster
  stop-apiserver       stop the API server (start-apiserver brings it back, restart-apiserver does both)
  stop|start|restart|kill COMPONENT
                       the same for any component, and kill ends it without warning; they are:
                       ${COMPONENTS[*]}
  pid COMPONENT        print a component's process id
  nfs, nfs-down        add a node with a real NFS client (emulated, slow) and a server for it; remove both
  gluster, gluster-down  mount a GlusterFS volume on the node and print where; remove it
  network-env          print lines for eval that tell tests of both
  audit-log            print the path of the API server's audit log
  logs COMPONENT       print the path of a component's log
  build                only fill the caches, as up would
  clean                down, and forget the imported images; the caches stay
  help                 this

environment:
  PGSET_TEST_KUBECONFIG  use this cluster instead; up only checks that it answers
  PGSET_TEST_PROVIDER    kind or bare, instead of kind when a Docker engine answers and kind exists, else bare
  PGSET_TEST_CACHE       built programs and images   [$CACHE]
  PGSET_TEST_STATE       the running cluster's state [$STATE]
  PGSET_TEST_DEBIAN_MIRROR  Debian mirror for the images, instead of the machine's own
E
}

# The provider of a running cluster stays the one that made it, even if Docker comes or goes meanwhile.
provider() {
  if [ -n "${PGSET_TEST_KUBECONFIG:-}" ]; then
    echo external
  elif [ -n "${PGSET_TEST_PROVIDER:-}" ]; then
    case $PGSET_TEST_PROVIDER in
      bare | kind) echo "$PGSET_TEST_PROVIDER" ;;
      *) die "PGSET_TEST_PROVIDER is \"$PGSET_TEST_PROVIDER\"" "set it to kind or bare, or unset it" ;;
    esac
  elif [ -f "$STATE/provider" ]; then
    cat "$STATE/provider"
  elif kind_is_usable; then
    echo kind
  else
    echo bare
  fi
}

main() {
  local verb=${1:-help}
  [ $# -eq 0 ] || shift
  case $verb in
    help | -h | --help) usage; return ;;
    rootfs) images_rootfs "${1:-}"; return ;;
    up | down | status | kubeconfig | nodes | load-image | audit-log | logs | pid | build | clean | shell-env | kubectl) ;;
    stop | start | restart | kill) ;;
    nfs | nfs-down | gluster | gluster-down | network-env) ;;
    stop-apiserver | start-apiserver | restart-apiserver) set -- kube-apiserver; verb=${verb%-apiserver} ;;
    *) usage >&2; exit 2 ;;
  esac

  local by
  by=$(provider) || exit $?
  case $verb in
    # Their failures are said already.
    nodes) "${by}_kubectl" get nodes -o wide || exit $? ;;
    kubectl | status) "${by}_$verb" "$@" || exit $? ;;
    shell-env)
      printf 'export KUBECONFIG=%q\n' "$("${by}_kubeconfig")"
      "${by}_shell_env"
      ;;
    restart)
      with_lock "${by}_stop" "${1:-}"
      with_lock "${by}_start" "${1:-}"
      ;;
    nfs | nfs-down | gluster | gluster-down | network-env)
      [ "$by" = bare ] || die "$verb works on the cluster without Docker, and this one is of the provider $by" \
        "unset PGSET_TEST_KUBECONFIG, or set PGSET_TEST_PROVIDER=bare"
      with_lock "bare_${verb//-/_}"
      ;;
    up | down | stop | start | kill | load-image | build | clean) with_lock "${by}_${verb//-/_}" "$@" ;;
    *) "${by}_${verb//-/_}" "$@" ;;
  esac
}

check_paths
main "$@"
