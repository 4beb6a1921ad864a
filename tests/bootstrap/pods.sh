# shellcheck shell=bash disable=SC2034
# Pods without Kubernetes: network, IPC and UTS namespaces for a pod's life, PID and mount namespaces for a container's, a
# read-only image, uid 999, and PostgreSQL as PID 1. Sourced by run.sh, which has already put everything into namespaces of its
# own, so nothing here outlives it or is seen outside.
#
# A case works on one set: `new_set`, then pods by ordinal (0 is pgset-0).

# ---- a set ----------------------------------------------------------------------------------------------------------

# Starts an empty set. $1: shared or per-pod. Variables that a case may change before: SET, DATABASE, DB_USER,
# REPLICATION_USER, the three passwords, DOMAIN.
new_set() {
  LAYOUT=${1:-per-pod}
  S=$WORK/sets/$CASE
  rm -rf "$S"
  mkdir -p "$S/config" "$S/passwords" "$S/state" "$S/pods" "$S/data"
  chmod 0777 "$S/data"
  cp "$SCRIPTS"/* "$HERE/postgresql.conf" "$S/config/"
  chmod -R a+rX "$S"
  write_secret superuser "$SUPERUSER_PASSWORD"
  write_secret replication "$REPLICATION_PASSWORD"
  write_secret user "$USER_PASSWORD"
  : >"$S/hosts"
  printf 'search %s\noptions ndots:5\n' "${DOMAIN:-example.test}" >"$S/resolv.conf"
  MASTER='' LIVING=''
  write_hosts
}

# As a Secret volume: group-readable only.
write_secret() {
  rm -f "$S/passwords/$1"
  printf '%s' "$2" >"$S/passwords/$1"
  chown "0:$RUN_UID" "$S/passwords/$1"
  chmod 0440 "$S/passwords/$1"
}

# The names DNS would know: the members that have a pod, and the Services. Until `master N` the pgset-master Service has no
# endpoint, and connections to it are refused. Written in place, because containers have the file mounted.
write_hosts() {
  {
    echo '127.0.0.1 localhost'
    local n domain=${DOMAIN:+.$DOMAIN.}
    for n in $LIVING; do
      echo "$(address "$n") $SET-$n.$SET$domain"
      echo "$(address "$n") $SET$domain"
    done
    local master=$NET.1
    [ -z "$MASTER" ] || master=$(address "$MASTER")
    [ "$MASTER" = none ] || echo "$master $SET-master$domain"
  } >"$S/hosts"
}

# Points the pgset-master Service at a member.
master() {
  MASTER=$1
  write_hosts
}

address() {
  echo "$NET.$((10 + $1))"
}

# The volume of member $1, and its data folder.
volume() {
  if [ "$LAYOUT" = shared ]; then echo "$S/data"; else echo "$S/data/$1"; fi
}
make_volume() {
  [ -d "$(volume "$1")" ] || mkdir -m 0777 "$(volume "$1")"
}
folder() {
  echo "$(volume "$1")/$SET-$1"
}

# ---- pods -----------------------------------------------------------------------------------------------------------

# Starts a container in pod $1; makes the pod when there is none.
pod_up() {
  local n=$1 pod=$S/pods/$1
  [ -e "$pod/sandbox" ] || pod_sandbox "$n"
  make_volume "$n"
  {
    echo "ROOTFS='$ROOTFS' SCRIPTS_SH='$SCRIPTS_SH' BUSYBOX='$BUSYBOX' RUN_AS='$RUN_UID:$RUN_UID' WITHOUT_NAME='$WITHOUT_NAME'"
    echo "CONFIG='$S/config' PASSWORDS='$S/passwords' STATE='$S/state' DATA='$(volume "$n")' HOSTS='$S/hosts' RESOLV='$S/resolv.conf'"
  } >"$pod/container.env"
  : >"$pod/termination-log"
  chmod 0666 "$pod/termination-log"
  POD_ENV=(PATH="$POD_PATH" POD_NAME="$SET-$n" PGSET_SET="$SET" PGSET_SERVICE="$SET" PGSET_MASTER_SERVICE="$SET-master"
    PGSET_DATABASE="$DATABASE" PGSET_USER="$DB_USER" PGSET_REPLICATION_USER="$REPLICATION_USER" PGSET_MAX_MEMBERS=4)
  rm -f "$pod/exit" "$pod/init" "$pod/unshare"
  local sandbox
  sandbox=$(cat "$pod/sandbox")
  (
    nsenter -t "$sandbox" -n -i -u unshare --mount --propagation private --pid --fork --kill-child \
      /bin/sh "$HERE/container.sh" "$pod" "${POD_ENV[@]}" >>"$pod/log" 2>&1 </dev/null &
    echo "$!" >"$pod/unshare"
    wait "$!"
    echo "$?" >"$pod/exit"
  ) &
  wait_until 10 "pod $n has a process" pod_find_init "$n"
}

# The container's process 1, as seen from here.
pod_find_init() {
  local pod=$S/pods/$1 unshare
  INIT=
  [ ! -e "$pod/exit" ] || return 0
  unshare=$(cat "$pod/unshare" 2>/dev/null) || return 1
  read -r INIT <"/proc/$unshare/task/$unshare/children"
  [ -n "$INIT" ] || return 1
  INIT=${INIT%% *}
  [ -e "/proc/$INIT/root/pgset/config/start.sh" ] || return 1 # Not yet past container.sh.
  echo "$INIT" >"$pod/init"
} 2>/dev/null

pod_sandbox() {
  local n=$1 pod=$S/pods/$1
  mkdir -p "$pod/run"
  chmod 0777 "$pod/run"
  : >"$pod/log"
  unshare --net --ipc --uts sleep 1000000 &
  local sandbox=$!
  echo "$sandbox" >"$pod/sandbox"
  wait_until 5 "the sandbox has a network" new_network "$sandbox"
  LINKS=$((LINKS + 1))
  local link=v$NETWORK_NUMBER.$BASHPID.$LINKS
  ip link add "${link:0:15}" type veth peer name eth0 netns "$sandbox"
  ip link set "${link:0:15}" master "$BRIDGE" up
  nsenter -t "$sandbox" -n sh -c "ip link set lo up; ip addr add $(address "$n")/24 dev eth0; ip link set eth0 up"
  LIVING="$LIVING $n"
  write_hosts
}

new_network() {
  [ "$(readlink "/proc/$1/ns/net")" != "$(readlink /proc/self/ns/net)" ]
}

pod_init() {
  cat "$S/pods/$1/init"
}

# Waits for pod $1's container to end and leaves its exit code in EXIT.
pod_wait_exit() {
  wait_until "${2:-20}" "pod $1's container ends" test -s "$S/pods/$1/exit"
  EXIT=$(cat "$S/pods/$1/exit")
}

pod_running() {
  [ ! -e "$S/pods/$1/exit" ]
}

# kill -9 of process 1: the kernel kills the rest of the container.
pod_kill() {
  kill -9 "$(pod_init "$1")" 2>/dev/null
  pod_wait_exit "$1"
}

pod_term() {
  kill -TERM "$(pod_init "$1")" 2>/dev/null
}

# preStop, then SIGTERM, as the kubelet does.
pod_stop() {
  pod_script "$1" stop.sh >/dev/null
  pod_term "$1"
  pod_wait_exit "$1" 20
}

# Deletes the pod: its container, its network, its in-memory folder. The volume stays.
pod_delete() {
  pod_running "$1" && pod_stop "$1"
  kill -9 "$(cat "$S/pods/$1/sandbox")" 2>/dev/null
  rm -rf "$S/pods/$1"
  LIVING=${LIVING/ $1/}
  write_hosts
}

pod_exec() {
  local pid
  pid=$(pod_init "$1") || return 1
  shift
  nsenter -t "$pid" -m -n -i -u -p -r -S "$RUN_UID" -G "$RUN_UID" /usr/bin/env -C / -i "${POD_ENV[@]}" "$@" </dev/null
}

# Runs one of the pod's scripts as a probe would.
pod_script() {
  local n=$1
  POD_ENV=("${POD_ENV[@]/#POD_NAME=*/POD_NAME=$SET-$n}")
  pod_exec "$n" /bin/sh "/pgset/config/$2" 2>&1
}

pod_ready() {
  OUT=$(pod_script "$1" ready.sh)
}

# A member is ready, as the kubelet sees it, within $2 seconds; a container that ended is started again, and counted.
RESTARTS=0
wait_ready() {
  local n=$1 deadline=$(($(milliseconds) + ${2:-20} * 1000))
  until pod_ready "$n"; do
    if ! pod_running "$n"; then
      RESTARTS=$((RESTARTS + 1))
      pod_up "$n"
    fi
    [ "$(milliseconds)" -lt "$deadline" ] || fail "pod $n is not ready after ${2:-20} s: $OUT"
    sleep 0.1
  done
}

# Limits what pod $1 sends, to catch a clone in the middle: $2 as tc says it, or nothing for no limit.
pod_rate() {
  local device=(nsenter -t "$(cat "$S/pods/$1/sandbox")" -n tc qdisc)
  "${device[@]}" del dev eth0 root 2>/dev/null
  [ -z "${2-}" ] || "${device[@]}" add dev eth0 root tbf rate "$2" burst 1mb latency 100ms
}

# SQL as the superuser over the pod's socket.
pod_sql() {
  local n=$1
  shift
  pod_exec "$n" "$PROGRAMS/psql" -XAtq -v ON_ERROR_STOP=1 -h /pgset/run -U postgres -d "${DB:-postgres}" -c "$@"
}

pod_log() {
  cat "$S/pods/$1/log"
}

# Kills everything the case started.
end_set() {
  local pod pid
  for pod in "${S:-/nonexistent}"/pods/*; do
    for pid in "$(cat "$pod/init" 2>/dev/null)" "$(cat "$pod/sandbox" 2>/dev/null)"; do
      [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null
    done
  done
  wait 2>/dev/null
  rm -rf "${S:-/nonexistent}"
}

# ---- asserting ------------------------------------------------------------------------------------------------------

milliseconds() {
  echo $((${EPOCHREALTIME/./} / 1000))
}

fail() {
  local log
  for log in "$S"/pods/*/log; do
    echo "--- the end of ${log#"$S/"}"
    tail -n "${PGSET_TEST_LOG_LINES:-20}" "$log"
  done
  echo "--- FAILED: $*"
  exit 1
} 2>/dev/null

# Waits up to $1 seconds for a command to succeed; $2 says what for.
wait_until() {
  local deadline=$(($(milliseconds) + $1 * 1000)) what=$2
  shift 2
  until "$@"; do
    [ "$(milliseconds)" -lt "$deadline" ] || fail "waited in vain: $what"
    sleep 0.05
  done
}

expect() {
  [ "$2" = "$3" ] || fail "$1: expected '$3', got '$2'"
}

expect_match() {
  # shellcheck disable=SC2053 # A pattern.
  [[ $2 == $3 ]] || fail "$1: expected '$3', got '$2'"
}

# Everything about the files under $1: names, kinds, modes, contents.
fingerprint() {
  (cd "$1" && {
    find . -printf '%p %y %m %U %T@ %s\n'
    find . -type f -exec sha256sum {} +
  } | sort | sha256sum)
}
