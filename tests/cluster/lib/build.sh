# shellcheck shell=bash
# The programs: Debian's packages for what Debian has in a usable version, Go modules for the rest.

# Always the same flags: other ones would have Go compile everything again.
GO_LDFLAGS="-s -w -X k8s.io/component-base/version.gitVersion=$KUBERNETES_VERSION"
GO_LDFLAGS+=" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"

KUBERNETES_PROGRAMS=(kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl coredns)
KUBERNETES=$CACHE/kubernetes-$KUBERNETES_VERSION-$(content_key "$HERE"/kubernetes/{go.mod,go.sum,main.go} "$GO_LDFLAGS")
LOCAL_PATH=$CACHE/local-path-provisioner-$LOCAL_PATH_VERSION

# need_packages PROGRAM=PACKAGE...: installs the packages whose program (or file) is missing.
need_packages() {
  local pair missing=()
  for pair; do
    case $pair in
      /*) [ -e "${pair%%=*}" ] || missing+=("${pair#*=}") ;;
      *) type -P "${pair%%=*}" >/dev/null || missing+=("${pair#*=}") ;;
    esac
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  type -P apt-get >/dev/null || die "these are missing: ${missing[*]}" \
    "install them, or use kind (with Docker), or set PGSET_TEST_KUBECONFIG to a cluster you have" \
    "the cluster without Docker is made of Debian's packages, so it needs Debian or a child of it"
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  need_root "installing ${missing[*]}"
  need_apt_lists
  slowly "installing ${missing[*]}" "$CACHE/log/apt-install.log" \
    env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
}

# A fresh machine has no package lists yet.
need_apt_lists() {
  if ! compgen -G '/var/lib/apt/lists/*Packages*' >/dev/null; then
    slowly "apt-get update" "$CACHE/log/apt-update.log" apt-get update -o APT::Update::Error-Mode=any
  fi
}

need_root() {
  [ "$(id -u)" = 0 ] || die "$1 needs root" "run it with sudo" \
    "or use kind (with Docker), or set PGSET_TEST_KUBECONFIG to a cluster you have"
}

# need_go: puts a go new enough for kubernetes/go.mod on the PATH. Asked from that folder, go names the toolchain it would
# use, which may be a newer one that it fetches by itself.
need_go() {
  local wanted found how
  wanted=$(awk '$1 == "go" { print $2 }' "$HERE/kubernetes/go.mod")
  how="unpack Go $wanted or newer (go.dev/dl) into /usr/local/go, or put it first on the PATH"
  type -P go >/dev/null || PATH=$PATH:/usr/local/go/bin
  type -P go >/dev/null || die "go is missing; Kubernetes is built from its Go modules, once" "$how"
  found=$(cd "$HERE/kubernetes" && go env GOVERSION 2>&1) || die "go does not work: $found" "$how"
  found=${found#go}
  [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ] ||
    die "$(type -P go) is Go $found, too old to build Kubernetes $KUBERNETES_VERSION" "$how"
}

build_programs() {
  build_kubernetes
  build_local_path
  prune "$CACHE" kubernetes- "$(basename "$KUBERNETES")"
  prune "$CACHE" local-path-provisioner- "$(basename "$LOCAL_PATH")"
}

build_kubernetes() {
  [ ! -x "$KUBERNETES/kubelet" ] || return 0
  need_go
  need_space "$(go env GOCACHE)" 5000 "building Kubernetes"
  need_space "$CACHE" 1000 "building Kubernetes"
  local new=$CACHE/new.kubernetes name
  rm -rf "$new"
  mkdir -p "$new"
  slowly "building Kubernetes $KUBERNETES_VERSION from its Go modules (once; 8 min on 2 cores)" \
    "$CACHE/log/kubernetes.log" env -C "$HERE/kubernetes" CGO_ENABLED=0 \
    go build -buildvcs=false -ldflags="$GO_LDFLAGS" -o "$new/kubernetes" .
  for name in "${KUBERNETES_PROGRAMS[@]}"; do ln -s kubernetes "$new/$name"; done
  rm -rf "$KUBERNETES"
  mv "$new" "$KUBERNETES"
}

build_local_path() {
  [ ! -x "$LOCAL_PATH/local-path-provisioner" ] || return 0
  need_go
  local new=$CACHE/new.local-path
  rm -rf "$new"
  mkdir -p "$new"
  slowly "building local-path-provisioner $LOCAL_PATH_VERSION (once; 3 min on 2 cores)" \
    "$CACHE/log/local-path-provisioner.log" env CGO_ENABLED=0 GOBIN="$new" GOFLAGS=-buildvcs=false \
    go install -ldflags='-s -w' "github.com/rancher/local-path-provisioner@$LOCAL_PATH_VERSION"
  rm -rf "$LOCAL_PATH"
  mv "$new" "$LOCAL_PATH"
}
