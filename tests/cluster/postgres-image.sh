#!/bin/bash
# The recipe of the PostgreSQL images: Debian's own package in as little of a Debian as it needs, with the user, the
# paths and the programs of the official image.
# Usage: postgres-image.sh VERSION SUITE MIRROR NAME OUTPUT [MMDEBSTRAP-OPTION...]
set -euo pipefail

# Hooks of mmdebstrap, which calls this script again with the new root.

# Before PostgreSQL's package is installed: the uid the official image has, and no cluster made by the installation.
before_packages() {
  local root=$1
  echo "postgres:x:999:" >>"$root/etc/group"
  echo "postgres:x:999:999:PostgreSQL:/var/lib/postgresql:/bin/bash" >>"$root/etc/passwd"
  echo "postgres:*:19000:0:99999:7:::" >>"$root/etc/shadow"
  mkdir -p "$root/etc/postgresql-common"
  echo "create_main_cluster = false" >"$root/etc/postgresql-common/createcluster.conf"
}

# After: the folders the official image has, and the proof that the programs pgset uses are there.
after_packages() {
  local root=$1 program
  chroot "$root" install -d -o 999 -g 999 -m 3777 /run/postgresql
  chroot "$root" install -d -o 999 -g 999 -m 1777 /var/lib/postgresql/data
  chroot "$root" chown 999:999 /var/lib/postgresql
  rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/* "$root"/var/log/*
  for program in initdb postgres pg_ctl pg_basebackup pg_controldata pg_rewind pg_dump pg_isready psql getent bash; do
    chroot "$root" env PATH="$IMAGE_PATH" sh -c "command -v $program" >/dev/null || {
      echo "the image has no $program" >&2
      exit 1
    }
  done
  # shellcheck disable=SC2016 # The dollar is dpkg-query's.
  chroot "$root" dpkg-query -W -f '${Version}' "$PACKAGE" >"$WORK/version"
}

case $1 in
  before_packages | after_packages) "$1" "$2"; exit ;;
esac

version=$1 suite=$2 mirror=$3 name=$4 output=$5
shift 5
here=$(cd "$(dirname "$0")" && pwd)
WORK=$(mktemp -d "$(dirname "$output")/work.XXXXXX")
trap 'rm -rf "$WORK"' EXIT
PACKAGE=postgresql-$version
IMAGE_PATH=/usr/lib/postgresql/$version/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export WORK PACKAGE IMAGE_PATH RECIPE=$here/postgres-image.sh TMPDIR=$WORK

# LLVM, which JIT compilation alone uses, would be half of the image. PostgreSQL goes without when its module is absent.
# shellcheck disable=SC2016 # The hooks' dollars are for mmdebstrap's shell.
mmdebstrap --variant=essential --mode=root --skip=cleanup/run --include="$PACKAGE" \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-exclude=/usr/share/info/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/lib/*/libLLVM*' \
  --dpkgopt='path-exclude=/usr/lib/llvm*' \
  --dpkgopt="path-exclude=/usr/lib/postgresql/$version/lib/llvmjit*" \
  --essential-hook='"$RECIPE" before_packages "$1"' --customize-hook='"$RECIPE" after_packages "$1"' \
  "$@" "$suite" "$WORK/rootfs.tar" "$mirror"

python3 "$here/image.py" "$name" "$WORK/rootfs.tar" "$WORK/image.tar" --config '{
  "Cmd": ["postgres"],
  "Env": ["PATH='"$IMAGE_PATH"'", "LANG=C.UTF-8", "PG_MAJOR='"$version"'", "PG_VERSION='"$(cat "$WORK/version")"'",
          "PGDATA=/var/lib/postgresql/data"],
  "StopSignal": "SIGINT"
}'
mv "$WORK/image.tar" "$output"
