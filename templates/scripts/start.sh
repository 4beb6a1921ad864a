#!/bin/sh
# The pod's command: makes this member's data folder right, then becomes PostgreSQL.
#
#   its folder is   what happens
#   a primary's     started as it is, unless another member is the primary already
#   a standby's     started as it is; cloned again when it can no longer follow, or came back from a scale-down
#   empty           member 0 of a set that never existed initialises it; any other waits for the primary and clones it
#   anything else   refused with one sentence, untouched
#
# The folder decides (standby.signal makes it a standby's); the ordinal counts only where there is nothing yet. A folder is
# made under the name <folder>.tmp and gets its own name when it is complete and on disk: whenever the pod is killed, a
# folder is whole or absent. No step deletes a folder that was ever whole.

# As PID 1 a shell gets SIGTERM only if it is trapped, and a trap has to wait for a command in the foreground. So this comes
# first, and all that may take long runs in the background. What is still running then dies with PID 1; the next start cleans up.
trap stopped TERM INT
stopped() {
  echo "pgset: stopped before PostgreSQL was started" >&2
  exit 143
}

# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${0%/*}/lib.sh"

main() {
  prepare_run
  check_programs
  make_folder_right &
  wait $!
  code=$?
  [ "$code" = 0 ] || exit "$code"
  become_postgres
}

make_folder_right() {
  if [ ! -e "$PGDATA" ] || rmdir "$PGDATA" 2>/dev/null; then
    fill_empty_folder
    return
  fi
  check_folder
  if [ -e "$PGDATA/standby.signal" ]; then
    check_standby
  else
    check_primary
  fi
  rm -rf "$PGDATA.tmp" # Left by a clone that was killed.
  chmod 0700 "$PGDATA" # PostgreSQL insists; a kubelet that applies fsGroup has opened it to the group.
}

# exec, so that PostgreSQL is PID 1: the signals reach it, and it takes a postmaster.pid left by a killed pod for its own.
# A primary gets primary_conninfo as well and ignores it, so a promotion or a switchover needs no other command line.
become_postgres() {
  role=primary
  [ ! -e "$PGDATA/standby.signal" ] || role=replica
  primary=
  [ ! -e "$PGSET_RUN/primary" ] || read -r primary <"$PGSET_RUN/primary"
  [ -e "$PGSET_RUN/members" ] || hosts_now >/dev/null # For all_hosts.
  full=$(why_full) # PostgreSQL's own words would not tell bytes from inodes.
  [ -z "$full" ] || say "$full"
  phase "starting PostgreSQL as a $role"
  say "starting PostgreSQL $major as a $role"
  # From here on a signal could get lost, until PostgreSQL listens to them. So stop.sh leaves word first, then looks whether
  # this has begun: one of the two sees the other.
  : >"$PGSET_RUN/started"
  [ ! -e "$PGSET_RUN/stop" ] || stopped
  exec postgres -D "$PGDATA" -p "$PGSET_PORT" \
    -c config_file="$PGSET_CONFIG/postgresql.conf" \
    -c hba_file="$PGSET_CONFIG/pg_hba.conf" \
    -c unix_socket_directories="$PGSET_RUN" \
    -c unix_socket_permissions=0700 \
    -c cluster_name="$POD_NAME" \
    -c primary_conninfo="$(conninfo "$(all_hosts "$primary")" read-write) application_name=$(quoted "$POD_NAME")" \
    -c recovery_target_timeline=latest \
    -c wal_retrieve_retry_interval=1s
}

# ---- before anything else -------------------------------------------------------------------------------------------

# The in-memory folder survives a restart of the container: what the last start left there is not true any more.
prepare_run() {
  for file in stop started streamed failures primary members clone.log ask.err ".s.PGSQL.$PGSET_PORT" ".s.PGSQL.$PGSET_PORT.lock"; do
    rm -f "$PGSET_RUN/$file"
  done
  phase "starting" || stop_here 77 "cannot write to $PGSET_RUN as uid $(id -u)"
  # In a passfile, : and \ are escaped. A group-readable Secret file itself would be ignored by libpq.
  for field in "$PGSET_REPLICATION_USER" "$(secret replication)"; do
    printf '%s' "$field" | sed 's/[:\\]/\\&/g'
    printf '\n'
  done | {
    IFS= read -r user
    IFS= read -r password
    printf '*:*:*:%s:%s\n' "$user" "$password"
  } >"$PGPASSFILE"
}

secret() {
  cat "$PGSET_PASSWORDS/$1" 2>/dev/null
}

need_secrets() {
  for name in "$@"; do
    [ -n "$(secret "$name")" ] || stop_here 78 "there is no password \"$name\" in the Secret (looked for $PGSET_PASSWORDS/$name)"
  done
}

check_programs() {
  for program in postgres initdb pg_basebackup pg_controldata pg_ctl pg_isready psql; do
    command -v "$program" >/dev/null || stop_here 78 "the image has no $program: it needs PostgreSQL's server and client programs"
  done
  # shellcheck disable=SC2046 # "postgres (PostgreSQL) 15.4 (Debian ...)", split into words.
  set -- $(postgres -V)
  major=${3%%[!0-9]*}
}

# ---- an empty folder ------------------------------------------------------------------------------------------------

fill_empty_folder() {
  need_secrets replication
  if [ "$ordinal" = 0 ] && ! set_exists; then
    initialise
  else
    clone "${why:-$POD_NAME has no data yet}"
  fi
}

# Whether this set has, or ever had, a primary: then an empty member 0 must not become a second one. Says why in `why`.
set_exists() {
  if [ -n "$(recorded_system)" ]; then
    why="$POD_NAME has no data, but the set exists (system $(recorded_system) is on record)"
    return
  fi
  for folder in "$PGSET_DATA/$PGSET_SET"-*; do
    number=${folder#"$PGSET_DATA/$PGSET_SET-"}
    case ${number%.stale-*} in
    '' | *[!0-9]*) continue ;; # Another set, or a half-made folder.
    esac
    if [ -e "$folder/PG_VERSION" ] && [ -e "$folder/global/pg_control" ]; then
      why="$POD_NAME has no data, but the set exists ($folder holds some)"
      return
    fi
  done
  until ask "$(hosts_now)" any; do
    # A server that answers with an error is one, too.
    if grep -q 'FATAL:' "$PGSET_RUN/ask.err"; then
      why="$POD_NAME has no data, but a member answers (with an error)"
      return
    fi
    # That nobody answers is worth something only while DNS works, and the Service's name always exists.
    grep -q "could not translate host name \"$master_host\"" "$PGSET_RUN/ask.err" || return 1
    remind "$POD_NAME has no data: asking for the other members before it is initialised: $(no_primary)"
    nap
  done
  why="$POD_NAME has no data, but the set exists ($member_name answers)"
}

# The set's identity, which pgset records once the set has been healthy.
recorded_system() {
  tr -d '[:space:]' <"$PGSET_STATE/system-identifier"
} 2>/dev/null

initialise() {
  need_secrets superuser user
  name_this_uid
  make_temporary_folder
  phase "initialising the database"
  say "initialising $PGDATA"
  # The collation is plain byte order, so that an image with another C library cannot corrupt an index.
  # --no-sync: seal syncs, once. --no-clean: so that a volume that is full still is when it is looked at.
  set -- --username=postgres --pwfile="$PGSET_PASSWORDS/superuser" --auth=scram-sha-256 --data-checksums --encoding=UTF8 \
    --locale=C --lc-ctype=C.UTF-8 --no-sync --no-clean
  [ "$major" -lt 16 ] || set -- "$@" --set huge_pages=off
  initdb -D "$PGDATA.tmp" "$@" >"$PGSET_RUN/initdb.log" 2>&1 ||
    stop_here 1 "initdb failed: $(with_what_is_full "$(sed -n 's/^initdb: error: //p; s/.*FATAL: *//p' "$PGSET_RUN/initdb.log" | head -n 1)")"
  # Single-user mode: quicker than a temporary server, and nobody can connect meanwhile.
  first_statements | postgres --single -D "$PGDATA.tmp" -c exit_on_error=on -c fsync=off -c huge_pages=off \
    -c log_min_error_statement=panic postgres >"$PGSET_RUN/initdb.log" 2>&1 ||
    stop_here 1 "creating the users and the database failed: $(with_what_is_full "$(sed -n 's/.*FATAL: *//p; s/.*PANIC: *//p' "$PGSET_RUN/initdb.log" | head -n 1)")"
  seal
}

# initdb and single-user mode want the name of the user they run as. Images that expect to run as any uid bring nss_wrapper,
# which can give one.
name_this_uid() {
  uid=$(id -u)
  ! grep -q "^[^:]*:[^:]*:$uid:" /etc/passwd || return 0
  for library in /usr/lib/*/libnss_wrapper.so /usr/lib/libnss_wrapper.so /usr/lib64/libnss_wrapper.so; do
    [ -e "$library" ] || continue
    export LD_PRELOAD="$library" NSS_WRAPPER_PASSWD="$PGSET_RUN/passwd" NSS_WRAPPER_GROUP="$PGSET_RUN/group"
    printf 'postgres:x:%s:%s::%s:/bin/sh\n' "$uid" "$(id -g)" "$PGSET_RUN" >"$NSS_WRAPPER_PASSWD"
    printf 'postgres:x:%s:\n' "$(id -g)" >"$NSS_WRAPPER_GROUP"
    return
  done
  stop_here 78 "initdb needs a name for uid $uid, and the image has none: run the pod as the image's own postgres user"
}

# One statement a line, as single-user mode reads them. pg_monitor lets a standby ask which WAL the primary still has.
first_statements() {
  owner=$(sql_name "$PGSET_USER")
  printf 'CREATE ROLE %s LOGIN REPLICATION IN ROLE pg_monitor PASSWORD %s;\n' \
    "$(sql_name "$PGSET_REPLICATION_USER")" "$(sql_text "$(secret replication)")"
  [ "$PGSET_USER" = postgres ] || printf 'CREATE ROLE %s LOGIN PASSWORD %s;\n' "$owner" "$(sql_text "$(secret user)")"
  [ "$PGSET_DATABASE" = postgres ] || printf 'CREATE DATABASE %s OWNER %s;\n' "$(sql_name "$PGSET_DATABASE")" "$owner"
}

sql_name() {
  printf '"%s"' "$(printf '%s' "$1" | sed 's/"/""/g')"
}

sql_text() {
  printf "'%s'" "$(printf '%s' "$1" | sed "s/'/''/g")"
}

# ---- cloning --------------------------------------------------------------------------------------------------------

# Makes PGDATA a clone of the primary, however long that takes; $1 says why. What was there stays beside it. A failure is not
# the container's end: the kubelet would wait longer and longer between restarts, and the phase says more than a crash loop.
clone() {
  pause=1
  while :; do
    wait_for_primary "$1"
    if clone_once; then
      seal
      return
    fi
    phase "cloning from $member_name failed and is tried again: $problem"
    say "cloning from $member_name failed: $problem; trying again in $pause s"
    sleep "$pause"
    pause=$((pause < 30 ? pause * 2 : 60))
  done
}

wait_for_primary() {
  # At first only the Service, whose name always exists: a member's name which is asked for before it exists may stay unknown
  # for up to 30 s, because resolvers remember that too.
  hosts=$master_host
  tries=0
  until find_primary "$hosts"; do
    problem=$(no_primary)
    remind "$1: waiting for the primary to clone it from: $problem"
    case $problem in
    *password*) sleep 3 ;; # Every try is a line in the other member's log.
    *) nap ;;
    esac
    tries=$((tries + 1))
    [ "$tries" -lt 3 ] || hosts=$(hosts_now)
  done
}

# Says what is waited for: always as the phase, in the log now and then.
remind() {
  phase "$*"
  now=$(date +%s)
  if [ "$now" -ge "${next_reminder:-0}" ]; then
    next_reminder=$((now + 10))
    say "$*"
  fi
}

nap() {
  sleep 0.3 2>/dev/null || sleep 1
}

clone_once() {
  check_system "$member_system" "$member_name is the primary of"
  make_temporary_folder
  enough_space || return 1
  phase "cloning from $member_name"
  say "cloning from $member_name"
  began=$(date +%s)
  # No -R, which would store the password; no slot, which would outlive the member and fill the primary's disk; no manifest,
  # since nothing reads it. --no-sync: seal syncs, once. --no-clean: as for initdb.
  set -- --checkpoint=fast --wal-method=stream --no-slot --no-sync --no-clean --progress
  [ "$major" -lt 13 ] || set -- "$@" --no-manifest
  if ! pg_basebackup -D "$PGDATA.tmp" -d "$(conninfo "$member_host" read-write)" "$@" >"$PGSET_RUN/clone.log" 2>&1; then
    problem=$(with_what_is_full "$(sed -n 's/^pg_basebackup: [a-z]*: //p' "$PGSET_RUN/clone.log" | head -n 1)")
    rm -rf "$PGDATA.tmp"
    return 1
  fi
  : >"$PGDATA.tmp/standby.signal"
  read_control "$PGDATA.tmp" || stop_here 1 "the clone has no readable control file"
  check_system "$(control 'Database system identifier')" "the clone is of"
  say "cloned from $member_name in $(($(date +%s) - began)) s"
  echo "$member_name" >"$PGSET_RUN/primary"
}

# A clone that does not fit is not begun: in the shared layout it would take the primary's disk with it.
enough_space() {
  kilobytes=$(timeout 20 psql -XAtq -d "$(conninfo "$member_host" read-write)" \
    -c 'SELECT (sum(pg_database_size(oid)) / 1024 * 1.1)::bigint FROM pg_database' 2>/dev/null) || return 0
  # shellcheck disable=SC2046 # The columns: file system, size, used, free.
  set -- $(df -Pk "$PGSET_DATA" | tail -n 1)
  [ "$kilobytes" -gt "$4" ] || return 0
  problem="it takes $((kilobytes / 1024)) MB, and only $(($4 / 1024)) MB are free on $PGSET_DATA"
  return 1
}

# ---- making a folder appear whole -----------------------------------------------------------------------------------

make_temporary_folder() {
  rm -rf "$PGDATA.tmp"
  problem=$(mkdir "$PGDATA.tmp" 2>&1) || stop_here 77 "cannot write to $PGSET_DATA as uid $(id -u): $problem"
}

# Gives the temporary folder its name, with everything in it on disk before and the name on disk after.
seal() {
  write_marker "$PGDATA.tmp"
  phase "writing the data folder to disk"
  problem=$(initdb --sync-only -D "$PGDATA.tmp" 2>&1) || stop_here 1 "cannot write the data folder to disk: $(with_what_is_full "$(printf '%s\n' "$problem" | tail -n 1)")"
  if [ -e "$PGDATA" ]; then
    aside=$PGDATA.stale-$(date -u +%Y%m%dT%H%M%SZ)
    [ ! -e "$aside" ] || stop_here 1 "$aside is there already"
    mv "$PGDATA" "$aside" || stop_here 1 "cannot put the old folder aside"
    say "the old folder stays as $aside"
  fi
  mv "$PGDATA.tmp" "$PGDATA" || stop_here 1 "cannot give the data folder its name"
  sync "$PGSET_DATA" 2>/dev/null || sync
}

write_marker() {
  read_control "$1" || stop_here 78 "the control file of $1 cannot be read"
  printf 'format=1\nmajor=%s\nsystem-identifier=%s\nretired=%s\n' \
    "$major" "$(control 'Database system identifier')" "$(retired_token)" >"$1/$marker"
}

# ---- a folder that is there -----------------------------------------------------------------------------------------

# Refuses what is not this set's, not this image's or not whole, before anything is written.
check_folder() {
  # It was there a moment ago: on a network file system it may be gone by now.
  owner=$(stat -c %u "$PGDATA" 2>&1) || stop_here 78 "the member's data folder was there and cannot be looked at any more: $owner"
  [ "$owner" = "$(id -u)" ] || stop_here 77 "$PGDATA belongs to uid $owner, but the pod runs as uid $(id -u): PostgreSQL needs them to be the same"
  need_secrets replication
  if [ ! -e "$PGDATA/PG_VERSION" ] || [ ! -e "$PGDATA/global/pg_control" ]; then
    stop_here 78 "$PGDATA is not empty, but not a whole PostgreSQL data folder either: rename it or move it away, and restart the pod"
  elif [ ! -e "$PGDATA/$marker" ]; then
    stop_here 78 "$PGDATA holds PostgreSQL data which pgset did not put there: to adopt it, make sure that nothing else uses it and create the empty file $PGDATA/$marker; otherwise move it away"
  fi
  read -r found <"$PGDATA/PG_VERSION"
  [ "$found" = "$major" ] || stop_here 78 "$PGDATA is of PostgreSQL $found, but the image has PostgreSQL $major: use an image of $found, or move the data with a dump"
  read_control "$PGDATA" || stop_here 78 "the control file of $PGDATA cannot be read: it is damaged"
  system=$(control 'Database system identifier')
  check_system "$system" "$PGDATA is of"
  [ -s "$PGDATA/$marker" ] || write_marker "$PGDATA" # Adopted.
}

# Refuses system $1 where the set is on record as another; $2 begins the sentence.
check_system() {
  recorded=$(recorded_system)
  [ -z "$recorded" ] || [ "$1" = "$recorded" ] ||
    stop_here 78 "$2 another database system, $1: this set is system $recorded"
}

# Two primaries are worse than none: this one steps back from one that is at least as new.
check_primary() {
  find_primary || return 0
  if [ "$member_system" != "$system" ]; then
    say "warning: $member_name is the primary of another database system, $member_system"
  elif [ "$member_timeline" -ge "$(folder_timeline)" ]; then
    stop_here 79 "$member_name is the primary already, on timeline $member_timeline ($PGDATA is on $(folder_timeline)): to let $POD_NAME follow it, create the file $PGDATA/standby.signal"
  fi
}

# A standby that has no chance to follow is cloned again. Where no primary can be asked, it just starts, so that it can be
# promoted if the primary is gone for good; ready.sh looks again later.
check_standby() {
  token=$(retired_token)
  if [ -n "$token" ] && [ "$token" != "$(sed -n 's/^retired=//p' "$PGDATA/$marker")" ]; then
    clone "$POD_NAME came back from a scale-down"
    return
  fi
  find_primary || return 0
  echo "$member_name" >"$PGSET_RUN/primary"
  [ "$member_system" = "$system" ] ||
    stop_here 78 "$PGDATA is a replica of system $system, but the primary $member_name is of system $member_system"
  reason=$(why_not_follow)
  [ -z "$reason" ] || clone "$POD_NAME cannot follow $member_name: $reason"
}

main
