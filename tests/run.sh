#!/usr/bin/env bash
# All tests, on a fresh machine as well: formatting, lints, unit and command-line tests, the pods' scripts against real
# PostgreSQL, and pgset on a real Kubernetes. Of the last ones, up to two that failed are run once more by themselves; what
# passes then is named as FLAKY at the end.
#
#   tests/run.sh              everything
#   tests/run.sh quick        what needs no cluster and no PostgreSQL
#   tests/run.sh network      only what needs network storage: a real NFS client (emulated, a quarter of an hour) and GlusterFS
#
# The cluster is that of PGSET_TEST_KUBECONFIG, else kind's where Docker runs, else one made on the spot (as root, on
# Debian or a child of it): see tests/cluster/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

need() { # command, package
  command -v "$1" >/dev/null && return
  step "installing $2"
  local as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  apt-cache show "$2" >/dev/null 2>&1 || "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq "$2" >/dev/null
}

command -v cargo >/dev/null || { echo "there is no cargo: install Rust from https://rustup.rs, then repeat" >&2; exit 1; }
need shellcheck shellcheck
need python3 python3
need psql postgresql-client
need openssl openssl
need zsh zsh
need fish fish

step "formatting"
cargo fmt --check

step "lints"
cargo clippy --quiet --all-targets -- --deny warnings

# What stands below the fixtures is data: a checkout that nobody runs.
step "shell scripts"
git ls-files -z '*.sh' .ci/run ':!tests/fixtures' | xargs -0 shellcheck --external-sources

step "the benchmark's syntax"
python3 -c 'import ast, sys; [ast.parse(open(name).read(), name) for name in sys.argv[1:]]' tests/bench/*.py tests/cluster/*.py

if [ "${1-}" = quick ]; then
  step "tests without a cluster"
  exec cargo test --quiet --lib --bins --test render --test cli
fi

step "the test cluster"
tests/cluster/cluster.sh up

if [ "${1-}" = network ]; then
  trap 'tests/cluster/cluster.sh nfs-down || true; tests/cluster/cluster.sh gluster-down || true' EXIT
  step "network storage"
  tests/cluster/cluster.sh nfs
  tests/cluster/cluster.sh gluster
  environment=$(tests/cluster/cluster.sh network-env)
  eval "$environment"
  step "tests of network storage"
  cargo test --test real -- storage_network
  exit
fi

# Not at the same time as each other: the real cluster's tests want the machine for themselves.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
tests() { cargo test --no-fail-fast "$@" 2>&1 | tee "$log"; }

# What each failed test said, without the state of its namespace, and last the names: where somebody looks first.
what_failed() {
  step "what failed"
  { grep -A 60 -e 'panicked at' "$log" || true; } | grep -v -e '^ *[0-9]*: ' -e '^ *at ' | cut -c 1-400 | tail -n 400
  sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p; /^FAIL /p' "$log"
}

step "tests without a cluster"
targets=$(cd tests && for target in *.rs */main.rs; do target=${target%.rs}; echo "${target%/main}"; done)
flags=(--lib --bins)
for target in $targets; do
  [ "$target" = real ] || flags+=(--test "$target")
done
tests "${flags[@]}" || { what_failed; exit 1; }

step "tests on the cluster"
tests --test real && exit
mapfile -t failed < <(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log")
what_failed
# A machine of two processors does much at once here, and what one run in a hundred meets must not hide among what every
# run meets. So up to two tests are run once more, each by itself: what fails again has failed, and what does not is named.
[ "${#failed[@]}" -ge 1 ] && [ "${#failed[@]}" -le 2 ] || exit 1
for name in "${failed[@]}"; do
  step "once more, by itself: $name"
  tests --test real -- --exact "$name" || { what_failed; exit 1; }
done
step "passed when run once more, and failed before (see above): a flaky test, or a flaky pgset"
printf 'FLAKY %s\n' "${failed[@]}"
