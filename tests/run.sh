#!/usr/bin/env bash
# All tests, on a fresh machine as well: formatting, lints, unit and command-line tests, the pods' scripts against real
# PostgreSQL, and pgset on a real Kubernetes.
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

step "tests"
# Not at the same time as each other: the real cluster's tests want the machine for themselves.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! cargo test --no-fail-fast 2>&1 | tee "$log"; then
  # Once more at the end, where somebody looks first: what each failed test said, without the state of its namespace.
  step "what failed"
  grep -A 15 -e 'panicked at' -e '^FAIL ' "$log" | cut -c 1-400 | tail -n 200
  exit 1
fi
