#!/usr/bin/env bash
# Builds pgset and brings a set up: on the cluster your kubeconfig names, or on a test cluster made on the spot when there
# is none.
#
#   tests/try.sh [pgset up's options]
set -euo pipefail
cd "$(dirname "$0")/.."

command -v cargo >/dev/null || { echo "there is no cargo: install Rust from https://rustup.rs, then repeat" >&2; exit 1; }

if [ -z "${KUBECONFIG-}" ] && [ ! -e "$HOME/.kube/config" ]; then
  echo "no kubeconfig: making a test cluster (the first time takes about a quarter of an hour; tests/cluster/cluster.sh down removes it)" >&2
  tests/cluster/cluster.sh up
  KUBECONFIG=$(tests/cluster/cluster.sh kubeconfig)
  export KUBECONFIG
  echo "to use it yourself: export KUBECONFIG=$KUBECONFIG" >&2
fi

cargo build --release --quiet
"${CARGO_TARGET_DIR:-target}/release/pgset" up "$@"
