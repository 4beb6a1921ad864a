#!/usr/bin/env bash
# The pods' scripts against real PostgreSQL, without Kubernetes: cases.sh on PostgreSQL 15 and 17, in dash and in busybox.
#
#   run.sh [MAJOR...]         majors, default 15 17
#
#   PGSET_LONG_TESTS=1        every shell with every major, and 240 kills each instead of 12
#   PGSET_TEST_CASES=a,b      only these cases
#   PGSET_TEST_SEED=N         repeats a run's random moments
#
# Needs root. The images are the test cluster's. Everything runs in namespaces of its own, which take all processes, mounts and networks with them at the end.
# shellcheck source-path=SCRIPTDIR disable=SC2034 # Variables are for the files sourced.
set -u
HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
SCRIPTS=$ROOT/templates/scripts

if [ "${1-}" != --inside ]; then
  [ "$(id -u)" = 0 ] || { echo "run.sh needs root: it makes network, PID and mount namespaces" >&2 && exit 1; }
  cache=${PGSET_TEST_CACHE:-$HOME/.cache/pgset-test}
  mkdir -p "$cache"
  busybox=$(command -v busybox || echo "$cache/busybox/bin/busybox")
  if [ ! -x "$busybox" ]; then
    (cd "$cache" && apt-get download -q busybox-static >/dev/null && dpkg -x busybox-static_*.deb busybox) || exit 1
  fi
  [ $# -gt 0 ] || set -- 15 17
  images=()
  for major in "$@"; do
    rootfs=$("$ROOT/tests/cluster/cluster.sh" rootfs "$major") || exit 1
    images+=("$major=$rootfs")
  done
  export BUSYBOX_PROGRAM=$busybox
  work=$(mktemp -d /tmp/pgset-bootstrap.XXXXXX)
  trap 'rm -rf "$work"' EXIT
  unshare --mount --pid --fork --kill-child --net --mount-proc "$0" --inside "$work" "${images[@]}"
  exit
fi

# ---- inside the namespaces ------------------------------------------------------------------------------------------

WORK=$2
shift 2
mount -t tmpfs -o mode=755 tmpfs "$WORK"
BUSYBOX=$WORK/busybox
mkdir "$BUSYBOX"
cp "$BUSYBOX_PROGRAM" "$BUSYBOX/busybox"
"$BUSYBOX/busybox" --install -s "$BUSYBOX"
for applet in "$BUSYBOX"/*; do
  [ ! -L "$applet" ] || ln -sf busybox "$applet"
done
SEED=${PGSET_TEST_SEED:-$RANDOM}
echo "seed $SEED"

# shellcheck source=pods.sh
. "$HERE/pods.sh"
# shellcheck source=cases.sh
. "$HERE/cases.sh"

# One world: a major, a shell and some cases, one after the other. $1 image, as MAJOR=ROOTFS; $2 dash or busybox; $3 a number
# of its own; then the cases.
world() {
  MAJOR=${1%%=*} ROOTFS=${1#*=} SCRIPTS_SH=$2 NETWORK_NUMBER=$3
  PROGRAMS=/usr/lib/postgresql/$MAJOR/bin
  POD_PATH=/usr/sbin:/usr/bin:/sbin:/bin
  [ "$SCRIPTS_SH" = dash ] || POD_PATH=/busybox:$POD_PATH
  NET=10.77.$NETWORK_NUMBER
  BRIDGE=br$NETWORK_NUMBER
  ip link add "$BRIDGE" type bridge
  ip addr add "$NET.1/24" dev "$BRIDGE"
  ip link set "$BRIDGE" up
  WORK=$WORK/$NETWORK_NUMBER
  shift 3
  mkdir -p "$WORK/sets" "$WORK/logs"
  LINKS=0
  RUN_UID=999 WITHOUT_NAME='' DOMAIN=default.svc.cluster.test
  SET=pgset DATABASE=userdb DB_USER=testuser REPLICATION_USER=primaryuser
  SUPERUSER_PASSWORD=super-1 REPLICATION_PASSWORD=repl-2 USER_PASSWORD=user-3
  local case began
  for case in "$@"; do
    case ,${PGSET_TEST_CASES:-$case}, in *,"$case",*) ;; *) continue ;; esac
    CASE=$case
    RANDOM=$((SEED + NETWORK_NUMBER))
    began=$(milliseconds)
    if run_case; then
      printf 'ok    PostgreSQL %s %-8s %-34s %5d ms%s\n' "$MAJOR" "$SCRIPTS_SH" "$CASE" $(($(milliseconds) - began)) "$(note)"
      echo ok >>"$RESULTS"
    else
      printf 'FAIL  PostgreSQL %s %-8s %s\n' "$MAJOR" "$SCRIPTS_SH" "$CASE" | tee -a "$FAILURES"
      sed 's/^/      /' "$WORK/logs/$CASE" | tee -a "$FAILURES"
      echo fail >>"$RESULTS"
    fi
  done
}

# A case that takes longer than any should is stuck: it fails with a list of what was running.
run_case() {
  (
    trap end_set EXIT
    trap 'ps -eo pid,ppid,etimes,args --forest; fail "stuck"' TERM
    "$CASE" || exit 1
  ) >"$WORK/logs/$CASE" 2>&1 &
  local case=$! limit=90
  [ "$CASE" != killed ] || limit=300
  [ -z "${PGSET_LONG_TESTS-}" ] || limit=7200
  (sleep "$limit" && kill -TERM "$case") &
  local watchdog=$!
  wait "$case"
  local code=$?
  kill "$watchdog" 2>/dev/null
  return "$code"
}

# What a case wants to be printed besides "ok".
note() {
  sed -n 's/^note: /  /p' "$WORK/logs/$CASE" | tr -d '\n'
}

RESULTS=$WORK/results
FAILURES=$WORK/failures
: >"$RESULTS"
: >"$FAILURES"
number=0
for image in "$@"; do
  shells=(dash)
  [ "${image%%=*}" = 15 ] || shells=(busybox)
  [ -z "${PGSET_LONG_TESTS-}" ] || shells=(dash busybox)
  for shell in "${shells[@]}"; do
    world "$image" "$shell" "$((number + 1))" "${CASES[@]}" &
    world "$image" "$shell" "$((number + 2))" "${SLOW_CASES[@]}" &
    number=$((number + 2))
  done
done
wait
passed=$(grep -c ok "$RESULTS")
failed=$(grep -c fail "$RESULTS")
# Once more at the end, where somebody looks first.
cat "$FAILURES"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
