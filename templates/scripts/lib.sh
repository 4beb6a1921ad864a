# shellcheck shell=sh
# shellcheck disable=SC2034 # Some of the variables are for the scripts that source this.
#
# What start.sh and the probes share: the settings, the programs, how to say things, how to find the primary, and whether a
# standby can follow it. Sourced, never run. POSIX sh only: it has to work in dash and in busybox.

set -u
umask 077

# ---- settings -------------------------------------------------------------------------------------------------------

: "${POD_NAME:?}" "${PGSET_SET:?}" "${PGSET_SERVICE:?}" "${PGSET_MASTER_SERVICE:?}" "${PGSET_REPLICATION_USER:?}"
PGSET_CONFIG=${PGSET_CONFIG:-/pgset/config}
PGSET_PASSWORDS=${PGSET_PASSWORDS:-/pgset/passwords}
PGSET_STATE=${PGSET_STATE:-/pgset/state}
PGSET_RUN=${PGSET_RUN:-/pgset/run}
PGSET_DATA=${PGSET_DATA:-/pgdata}
PGSET_PORT=${PGSET_PORT:-5432}
PGSET_MAX_MEMBERS=${PGSET_MAX_MEMBERS:-32}
PGSET_TERMINATION_LOG=${PGSET_TERMINATION_LOG:-/dev/termination-log}

ordinal=${POD_NAME##*-}
marker=pgset.complete # In a data folder: pgset finished it. It is written last, before the folder gets its name.

# The image's own PG* variables are meant for its own start script and must not steer ours.
unset PGHOST PGHOSTADDR PGPORT PGUSER PGPASSWORD PGDATABASE PGSERVICE PGOPTIONS PGAPPNAME PGSSLMODE PGTARGETSESSIONATTRS
export PGDATA="$PGSET_DATA/$POD_NAME"
export PGPASSFILE="$PGSET_RUN/passfile"
# The only places to write to are the data and the in-memory folder. LC_ALL: the scripts read what the programs print.
export HOME="$PGSET_RUN" TMPDIR="$PGSET_RUN" LC_ALL=C

# In an image that does not have PostgreSQL's programs in PATH, they are in one of these; the last one, the newest, wins.
if ! command -v postgres >/dev/null 2>&1; then
  programs=
  for dir in /usr/local/pgsql/bin /usr/local/bin /usr/libexec/postgresql* /usr/pgsql-*/bin /opt/*/postgresql/bin \
    /usr/lib/postgresql/*/bin; do
    [ -x "$dir/postgres" ] && programs=$dir
  done
  [ -z "$programs" ] || PATH=$programs:$PATH
fi

# ---- saying things --------------------------------------------------------------------------------------------------

# One line in the container's log.
say() {
  printf 'pgset: %s\n' "$*" >&2
}

# What this pod is doing, in one line. The readiness probe prints it, so it becomes the pod's event.
phase() {
  printf '%s\n' "$*" >"$PGSET_RUN/phase"
}

# The last words: in the log, as the phase, and as the container's termination message. $1 is the exit code:
#   1   something failed that may work the next time
#   77  the volume cannot be read or written
#   78  the data folder, or what the pod was given, does not fit; nothing was touched
#   79  another member is the primary
# (143, as usual, is SIGTERM before PostgreSQL was started.)
stop_here() {
  code=$1
  shift
  say "$*"
  phase "$*"
  if [ -w "$PGSET_TERMINATION_LOG" ]; then
    printf '%s\n' "$*" >"$PGSET_TERMINATION_LOG"
  fi
  exit "$code"
}

# What is left on the volume, in bytes and in inodes, when one of them is short: of less than a megabyte, or of $1 at any
# rate. A file system without a fixed number of inodes says 0 or "-" of them.
why_full() {
  short=${1:-}
  # shellcheck disable=SC2046 # The columns: file system, size or inodes, used, free.
  set -- $(df -Pk "$PGSET_DATA" | tail -n 1)
  [ "$4" -ge 1024 ] || short=bytes
  left="$(($4 / 1024)) of $(($2 / 1024)) MB"
  # shellcheck disable=SC2046
  set -- $(df -Pi "$PGSET_DATA" | tail -n 1)
  if [ "$2" != - ] && [ "$2" -gt 0 ]; then
    [ "$4" -ge 16 ] || short=inodes
    left="$left and $4 of $2 inodes"
  fi
  [ -z "$short" ] || echo "$PGSET_DATA is full: $left are free"
} 2>/dev/null

# The words of a program that failed, $1, and what is full where that is why. Something may be free again by now: who
# fails takes back what it had begun.
with_what_is_full() {
  printf '%s' "$1"
  case $1 in
  *"No space left on device"*) full=$(why_full something) && [ -z "$full" ] || printf ': %s' "$full" ;;
  esac
}

# ---- talking to members ---------------------------------------------------------------------------------------------

# A value in a libpq connection string.
quoted() {
  printf "'%s'" "$(printf '%s' "$1" | sed "s/['\\\\]/\\\\&/g")"
}

# The pod's DNS domain with a dot at both ends, or nothing outside a cluster. With it a name is absolute, and a member that
# does not exist costs one DNS question instead of one for every search domain.
dns_domain() {
  while read -r key first _; do
    case $key/$first in
    search/*.svc.*) printf '.%s.' "$first" && return ;;
    esac
  done </etc/resolv.conf
} 2>/dev/null
domain=$(dns_domain)

member_host() {
  printf '%s' "$1.$PGSET_SERVICE$domain"
}
master_host=$PGSET_MASTER_SERVICE$domain

# Hosts where the primary may be, now or later: the member $1 first if given, then pgset-master, which follows a switchover,
# then the members by name. libpq skips names that do not exist, so a few more than there are cost little; many more would,
# once a second, in questions to DNS and in lines in the log while there is no primary. And no more than fit: PostgreSQL cuts
# off what a standby connects with after 1023 bytes; pgset-master leads to any member left out.
all_hosts() {
  hosts=
  [ -z "$1" ] || [ "$1" = "$POD_NAME" ] || hosts=$(member_host "$1"),
  hosts=$hosts$master_host
  count=$(cat "$PGSET_RUN/members" 2>/dev/null || echo "$PGSET_MAX_MEMBERS")
  [ "$count" -ge 4 ] || count=4
  [ "$count" -gt "$ordinal" ] || count=$((ordinal + 1))
  n=0
  while [ "$n" -lt "$count" ]; do
    member=$PGSET_SET-$n
    host=$(member_host "$member")
    [ $((${#hosts} + ${#host})) -lt 640 ] || break
    [ "$member" = "$POD_NAME" ] || [ "$member" = "$1" ] || hosts=$hosts,$host
    n=$((n + 1))
  done
  printf '%s' "$hosts"
}

# The hosts where a member may be right now, for a question that is asked often. One lookup of the headless name answers
# with every member's address. Member 0 is named besides: where the headless name was asked for too early, the resolver may
# answer "no such name" for up to 30 s more.
hosts_now() {
  if ! command -v getent >/dev/null; then
    all_hosts ""
    return
  fi
  hosts=$master_host
  count=0
  for address in $(timeout 5 getent ahosts "$PGSET_SERVICE$domain" | sed 's/ .*//' | sort -u); do
    hosts=$hosts,$address
    count=$((count + 1))
  done
  echo "$count" >"$PGSET_RUN/members"
  [ "$ordinal" = 0 ] || hosts=$hosts,$(member_host "$PGSET_SET-0")
  printf '%s' "$hosts"
}

# A connection string for the replication user: $1 hosts, $2 read-write or any. A standby does not heed connect_timeout; the
# TCP one keeps it from waiting a minute for the address of a pod that is gone.
conninfo() {
  printf '%s' "host=$(quoted "$1") port=$PGSET_PORT user=$(quoted "$PGSET_REPLICATION_USER") passfile=$(quoted "$PGPASSFILE")" \
    " dbname=postgres target_session_attrs=$2 connect_timeout=2 tcp_user_timeout=3000 gssencmode=disable"
}

# Asks the hosts $1 for a member that is $2 (read-write: the primary; any). Sets member_name, _host, _system, _timeline and
# _lsn. What went wrong is in ask.err.
ask() {
  answer=$(timeout 20 psql -XAtq -F ' ' -d "$(conninfo "$1" "$2") replication=true" \
    -c IDENTIFY_SYSTEM -c 'SHOW cluster_name' -c '\echo :HOST' 2>"$PGSET_RUN/ask.err") || return 1
  # shellcheck disable=SC2086 # Split into words.
  set -- $answer
  member_system=$1 member_timeline=$2 member_lsn=$3 member_name=$4 member_host=${5:-$4}
}

find_primary() {
  ask "${1:-$(hosts_now)}" read-write
}

# Why no primary was found, for a person.
no_primary() {
  if grep -q 'password authentication failed' "$PGSET_RUN/ask.err"; then
    printf 'a member refuses the password of the replication user "%s"\n' "$PGSET_REPLICATION_USER"
  elif grep -q 'no pg_hba.conf entry\|pg_hba.conf rejects' "$PGSET_RUN/ask.err"; then
    printf 'a member has no pg_hba.conf entry that lets the replication user "%s" in\n' "$PGSET_REPLICATION_USER"
  elif grep -q 'is not permitted to log in\|permission denied to start WAL sender\|superuser or replication role' "$PGSET_RUN/ask.err"; then
    printf 'a member does not let the replication user "%s" log in or replicate\n' "$PGSET_REPLICATION_USER"
  elif grep -q "could not translate host name \"$master_host\"" "$PGSET_RUN/ask.err"; then
    echo "DNS does not know $PGSET_MASTER_SERVICE"
  else
    echo "no member of $PGSET_SET answers as the primary"
  fi
}

# How this member answers over TCP, within $1 seconds: 0 accepts connections, 1 refuses them, 2 does not answer. pg_isready
# does not log in, but where the uid has no name it wants to be told one.
answers() {
  pg_isready -q -h 127.0.0.1 -p "$PGSET_PORT" -U postgres -t "$1"
}

# SQL on this member, over its Unix socket.
local_sql() {
  timeout 2 psql -XAtq -h "$PGSET_RUN" -p "$PGSET_PORT" -U postgres -d postgres "$@"
}

# ---- what a data folder says of itself ------------------------------------------------------------------------------

# Reads the control file of folder $1; fails where it is damaged, which pg_controldata only warns of.
read_control() {
  control=$(pg_controldata -D "$1" 2>&1) || return 1
  case $control in
  *WARNING:* | *warning:*) return 1 ;;
  esac
}

# One value of it.
control() {
  printf '%s\n' "$control" | sed -n "s/^$1: *//p"
}

# The word pgset left for this member when a scale-down removed it and its folder stayed; the last one counts.
retired_token() {
  last=
  while read -r member token _; do
    [ "$member" != "$POD_NAME" ] || last=$token
  done <"$PGSET_STATE/retired"
  echo "$last"
} 2>/dev/null

# The highest timeline the folder has been on. Just after a promotion only the second of them knows.
folder_timeline() {
  timeline=$(control "Latest checkpoint's TimeLineID")
  recovered=$(control "Min recovery ending loc's timeline")
  [ "$recovered" -le "$timeline" ] || timeline=$recovered
  echo "$timeline"
}

# An LSN such as 1/3000148 as a number.
lsn() {
  echo $((0x${1%/*} << 32 | 0x${1#*/}))
}

# How far the standby's folder has certainly gone: the end of what it replayed, or just past the last checkpoint's start.
folder_position() {
  position=$(($(lsn "$(control 'Latest checkpoint location')") + 1))
  recovered=$(lsn "$(control 'Minimum recovery ending location')")
  [ "$recovered" -le "$position" ] || position=$recovered
  echo "$position"
}

# The number of the last WAL segment in the folder, counted from segment $1 on. A segment kept for re-use has a later name
# but still an old address in its first page, so the address decides.
last_segment() {
  segment=$1
  while segment_is_here $((segment + 1)); do
    segment=$((segment + 1))
  done
  echo "$segment"
}

segment_is_here() {
  for file in "$PGDATA/pg_wal/"????????"$(printf '%08X%08X' $(($1 / segments_per_log)) $(($1 % segments_per_log)))"; do
    [ -f "$file" ] || continue
    address=$(od -An -v -tx8 -j8 -N8 "$file" | tr -d ' ')
    [ "$address" != "$(printf '%016x' $(($1 * segment_size)))" ] || return 0
  done
  return 1
}

# Why the standby in PGDATA can never follow the primary that was found (find_primary, read_control); nothing when it can
# or when that cannot be told. A clone is then the only way.
why_not_follow() {
  timeline=$(folder_timeline)
  position=$(folder_position)
  primary=$(conninfo "$member_host" read-write)

  if [ "$timeline" -lt "$member_timeline" ]; then
    # The primary's history has a line for every timeline before its own: number, tab, where it ended, tab, why.
    history=$(timeout 10 psql -XAtq -F ' ' -d "$primary replication=true" -c "TIMELINE_HISTORY $member_timeline" 2>/dev/null) || return 0
    fork=$(printf '%s\n' "$history" | sed 's/^[0-9A-F]*\.history //' | while read -r number end _; do
      [ "$number" != "$timeline" ] || echo "$end"
    done)
    if [ -z "$fork" ]; then
      echo "its timeline $timeline is not in the history of $member_name's timeline $member_timeline"
      return
    elif [ "$position" -gt "$(lsn "$fork")" ]; then
      echo "it went past $fork on timeline $timeline, where $member_name's timeline $member_timeline begins"
      return
    fi
  elif [ "$timeline" = "$member_timeline" ] && [ "$position" -gt "$(lsn "$member_lsn")" ]; then
    echo "it is ahead of $member_name, which is at $member_lsn"
    return
  fi

  # From here on it is a matter of WAL: is the segment it would ask for first still there?
  oldest=$(timeout 10 psql -XAtq -d "$primary" \
    -c "SELECT min(substr(name, 9)) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'" 2>/dev/null) || return 0
  [ -n "$oldest" ] || return 0
  segment_size=$(control 'Bytes per WAL segment')
  segments_per_log=$((0x100000000 / segment_size))
  oldest=$((0x${oldest%????????} * segments_per_log + 0x${oldest#????????}))
  if [ "$(last_segment $((position / segment_size)))" -lt "$oldest" ]; then
    echo "the WAL it needs next is gone from $member_name"
  fi
}
