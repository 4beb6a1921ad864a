#!/bin/sh
# Readiness, and the startup probe: may clients be sent to this member?
#
#   primary: it accepts connections over TCP. The temporary server of the first start has no TCP, so it never counts.
#   replica: it also has streamed from the primary since it was started. After that, a replica whose primary is away still
#            serves reads, so accepting connections is enough, and costs one fork.
#
# Prints why not, in one sentence: the kubelet shows it as the pod's event.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${0%/*}/lib.sh"

main() {
  answers 2
  answer=$?
  if [ "$answer" = 0 ]; then
    if [ -e "$PGSET_RUN/streamed" ] || [ ! -e "$PGDATA/standby.signal" ]; then
      exit 0
    fi
    case $(role) in
    primary)
      exit 0
      ;;
    streaming)
      : >"$PGSET_RUN/streamed"
      exit 0
      ;;
    esac
  fi
  if [ -e "$PGSET_RUN/started" ] && [ -e "$PGDATA/standby.signal" ]; then
    # Its output goes nowhere: what it may leave running would hold the probe open.
    now_and_then timeout 3 /bin/sh "$0" look >/dev/null 2>&1
  fi
  why_not_ready
  exit 1
}

# "primary", or the state of the replica's WAL receiver; nothing where there is none, or no answer.
role() {
  local_sql -c "SELECT CASE WHEN pg_is_in_recovery() THEN (SELECT status FROM pg_stat_wal_receiver) ELSE 'primary' END" 2>/dev/null
}

# Runs a command at every fifth failure: it is for the replica which stays like this, not for the one which just starts.
now_and_then() {
  failures=$(cat "$PGSET_RUN/failures" 2>/dev/null)
  failures=$((${failures:-0} + 1))
  echo "$failures" >"$PGSET_RUN/failures"
  [ $((failures % 5)) != 0 ] || "$@"
}

# A replica was started while no primary could be asked whether it can follow. Asked now, and where the answer is no, the
# replica stops: start.sh then clones it again.
look_for_the_primary() {
  # Its own position first, the primary's after it: so a replica that streams in between is never taken to be ahead. Two
  # checkpoints bring the control file up to what was replayed; the first may be a real restartpoint, which does not.
  local_sql -c CHECKPOINT -c CHECKPOINT >/dev/null 2>&1
  read_control "$PGDATA" || return
  if ! find_primary ""; then
    phase "the replica does not stream: $(no_primary)"
  elif [ "$(control 'Database system identifier')" != "$member_system" ]; then
    phase "the replica does not stream: $member_name is the primary of another system, $member_system"
  elif [ "$(folder_timeline)" -gt "$member_timeline" ]; then
    phase "the replica does not stream: the primary $member_name is on timeline $member_timeline, older than its own $(folder_timeline)"
  else
    phase "the replica has not streamed yet: connecting to $member_name"
    reason=$(why_not_follow)
    [ -n "$reason" ] || return
    case $(role) in
    primary | streaming) return ;;
    esac
    phase "the replica is restarted to be cloned again: $reason"
    pg_ctl stop -D "$PGDATA" -m fast -W >/dev/null 2>&1
  fi
}

why_not_ready() {
  read -r sentence <"$PGSET_RUN/phase" || sentence="the container is starting"
  case $sentence in
  cloning*)
    # pg_basebackup's progress: "  120400/345600 kB (34%), 0/1 tablespace".
    progress=$(tail -n 1 "$PGSET_RUN/clone.log" 2>/dev/null | sed -n 's|^ *\([0-9]*\)/\([0-9]*\) kB.*|\1 \2|p')
    [ -z "$progress" ] || sentence="$sentence: $((${progress% *} / 1024)) of $((${progress#* } / 1024)) MB copied"
    ;;
  starting*)
    case $answer in
    0) sentence="the replica has not streamed yet" ;;
    1) sentence="$sentence: it does not accept connections yet" ;;
    esac
    ;;
  esac
  printf '%s\n' "$sentence"
} 2>/dev/null

case ${1-} in
look) look_for_the_primary ;;
*) main ;;
esac
