#!/bin/sh
# The pod's command for a Crunchy image: mends what the image's own start script is careless about, chooses the member's
# role by its number where the image cannot, and becomes that script.
#
# That script initialises the primary and clones a replica where there is no postgresql.conf, and otherwise starts whatever
# is there. So a folder it must not start is put aside here. None is ever deleted.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${0%/*}/lib.sh"

main() {
  if [ "$ordinal" = 0 ]; then
    check_primary
  else
    check_replica
  fi
  if [ "$PG_MODE" != set ]; then
    export PG_MODE="$PGSET_REPLICA_MODE"
    [ "$ordinal" != 0 ] || PG_MODE=$PGSET_PRIMARY_MODE
    say "$POD_NAME starts with PG_MODE=$PG_MODE"
  fi
  follow_log &
  unset PGPASSFILE # The image has its own.
  # By bash, not by its first line: that says -x in the old versions, and every password would be in the log.
  exec /bin/bash "$PGSET_PROGRAMS/start.sh"
}

# The image's PostgreSQL logs to a file a weekday in the data folder. What is written there from now on also goes to the
# container's log, where `pgset logs` and everybody else looks for it.
follow_log() {
  from=0 shown='' tail=''
  while :; do
    # shellcheck disable=SC2012 # The image gives the files their names.
    file=$(ls -t "$PGDATA"/pg_log/*.log "$PGDATA"/log/*.log 2>/dev/null | head -n 1)
    if [ -n "$file" ] && [ "$file" != "$shown" ]; then
      [ -z "$tail" ] || kill "$tail"
      # What was there before this start has been shown before; a file that is new is shown from its first line on.
      tail -n "$from" -F "$file" 2>/dev/null &
      tail=$! shown=$file
    fi
    from=+1
    sleep 1
  done
}

# An empty member 0 would become a second, empty primary beside replicas that hold the data.
check_primary() {
  system=$(tr -d '[:space:]' <"$PGSET_STATE/system-identifier") 2>/dev/null
  [ -z "$system" ] || [ -e "$PGDATA/postgresql.conf" ] ||
    stop_here 78 "$POD_NAME has no data, but the set exists (system $system is on record): this image would initialise a second, empty primary. Put the folder back, or start over with pgset down --delete-data"
}

check_replica() {
  token=$(retired_token)
  # The name of the folder put aside says that this scale-down is dealt with, so there is one even where there was no data.
  if [ -n "$token" ] && [ ! -e "$PGDATA.stale-$token" ]; then
    say "$POD_NAME came back from a scale-down and is cloned anew"
    mkdir -p "$PGDATA" && put_aside "$token"
  elif [ -e "$PGDATA/postgresql.conf" ] && half_cloned; then
    say "the clone in $PGDATA was never finished; $POD_NAME is cloned anew"
    put_aside "$(date -u +%Y%m%dT%H%M%SZ)"
  fi
}

# A base backup that broke off: without a control file, or with a backup label but nothing that makes it a standby, in which
# case it would start as a primary.
half_cloned() {
  [ -e "$PGDATA/global/pg_control" ] || return 0
  [ -e "$PGDATA/backup_label" ] && [ ! -e "$PGDATA/recovery.conf" ] && [ ! -e "$PGDATA/standby.signal" ]
}

put_aside() {
  mv "$PGDATA" "$PGDATA.stale-$1" || stop_here 77 "cannot put the old folder aside as uid $(id -u)"
  say "the old folder stays as $PGDATA.stale-$1"
}

# The word pgset left for this member when a scale-down removed it and its folder stayed; the last one counts.
retired_token() {
  last=
  while read -r member token _; do
    [ "$member" != "$POD_NAME" ] || last=$token
  done <"$PGSET_STATE/retired"
  printf '%s' "$last"
} 2>/dev/null

main
