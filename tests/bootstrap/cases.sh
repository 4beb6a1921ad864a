# shellcheck shell=bash disable=SC2034
# The cases. Each runs in a subshell and begins with `new_set` (nothing there yet) or `living_set` (a primary and a replica that
# have lived before). Pods are named by their ordinal. `kept` is the table of what was committed and must never be lost.

CASES=(first_start restart stop_is_fast stopped_at_any_moment replica_readiness terminated_early empty_member_0_clones
  identity_on_record data_of_a_sibling any_member_counts no_dns_no_initialisation second_primary_refused switchover steps_down
  retired_member wal_gone wal_gone_seen_late wal_gone_after_streaming local_wal_spares_a_clone diverged diverged_seen_late old_primary_follows
  older_primary_is_not_followed foreign_major foreign_system unmarked_folder damaged_folder wrong_owner vanished_folder
  unwritable_volume
  full_volume volume_without_inodes refused_by_the_primary missing_secret hostile_names uid_without_a_name clone_is_retried clone_says_how_far names_without_a_domain
  a_node_is_gone)
# Those run beside them.
SLOW_CASES=(killed dns_hangs)

# ---- what the cases are made of -------------------------------------------------------------------------------------

# Two members, made once per world and copied: pgset-0 the primary, pgset-1 its replica, both cleanly stopped.
living_set() {
  local wanted=${1:-per-pod} n
  if [ ! -e "$WORK/template" ]; then
    local case=$CASE
    CASE=template
    new_set per-pod
    start_both
    pod_sql 0 "CREATE TABLE kept (n bigint); INSERT INTO kept VALUES (1)" >/dev/null
    caught_up 1 0
    pod_stop 1
    pod_stop 0
    mkdir "$WORK/template"
    cp -a "$(folder 0)" "$(folder 1)" "$WORK/template/"
    end_set
    CASE=$case
  fi
  new_set "$wanted"
  for n in 0 1; do
    make_volume "$n"
    cp -a "$WORK/template/pgset-$n" "$(folder "$n")"
  done
}

start_both() {
  pod_up 0
  pod_up 1
  wait_ready 0
  wait_ready 1
  RESTARTS=0
}

# Member $1 has replayed all that member $2 has written.
caught_up() {
  local end
  end=$(pod_sql "$2" "SELECT pg_current_wal_lsn()")
  wait_until 20 "member $1 has caught up with $2" replayed "$1" "$end"
}
replayed() {
  [ "$(pod_sql "$1" "SELECT pg_last_wal_replay_lsn() >= '$2'")" = t ]
}

# Member $1 streams from primary $2, which lists it by name; same system, same timeline.
expect_streaming() {
  expect "member $1 is in recovery" "$(pod_sql "$1" "SELECT pg_is_in_recovery()")" t
  expect "member $1 streams" "$(pod_sql "$1" "SELECT status FROM pg_stat_wal_receiver")" streaming
  expect "the primary lists member $1" "$(pod_sql "$2" "SELECT state FROM pg_stat_replication WHERE application_name = '$SET-$1'")" streaming
  expect "member $1 is of the same system" "$(system_of "$1")" "$(system_of "$2")"
}
expect_primary() {
  expect "member $1 is in recovery" "$(pod_sql "$1" "SELECT pg_is_in_recovery()")" f
}
system_of() {
  pod_sql "$1" "SELECT system_identifier FROM pg_control_system()"
}

promote() {
  expect "promoting member $1" "$(pod_sql "$1" "SELECT pg_promote()")" t
}

# Enough WAL on member $1 that its oldest segments are gone: the sample configuration keeps four. A switch fills a segment.
write_much() {
  local statements=() i
  for i in {1..12}; do
    statements+=(-c "INSERT INTO filler VALUES ($i)" -c "SELECT pg_switch_wal(), pg_sleep(0.1)")
  done
  pod_sql "$1" "CREATE TABLE IF NOT EXISTS filler (n int)" "${statements[@]}" -c CHECKPOINT -c CHECKPOINT >/dev/null
}

asides() {
  find "$S/data" -maxdepth 2 -name "$SET-$1.stale-*" | wc -l
}

# The container of pod $1 ends by itself with code $2 and a last sentence like $3, in the log and as termination message.
expect_refusal() {
  pod_wait_exit "$1"
  expect "exit code of pod $1" "$EXIT" "$2"
  expect_match "last sentence of pod $1" "$(pod_log "$1" | tail -n 1)" "pgset: $3"
  expect_match "termination message of pod $1" "$(cat "$S/pods/$1/termination-log")" "$3"
}

# Pod $1 waits with a sentence like $2, in its log and in its readiness, and stays alive.
expect_waiting() {
  wait_until 10 "pod $1's readiness says what it waits for" not_ready_saying "$1" "$2"
  wait_until 5 "pod $1's log says it, too" says_in_log "$1" "pgset: ${2%%: *}: "
  pod_script "$1" live.sh || fail "pod $1 is not alive"
}
says_in_log() {
  # shellcheck disable=SC2053 # A pattern.
  [[ $(pod_log "$1") == *$2* ]]
}
not_ready_saying() {
  ! pod_ready "$1" || return 1
  # shellcheck disable=SC2053 # A pattern.
  [[ $OUT == $2 ]]
}

phase_is() {
  # shellcheck disable=SC2053 # A pattern.
  [[ $(cat "$S/pods/$1/run/phase" 2>/dev/null) == $2 ]]
}

# SQL from outside, through the network, as user $2 with password $3.
network_sql() {
  local n=$1 user=$2 password=$3 database=$4
  shift 4
  pod_exec "$n" PGPASSWORD="$password" PGCONNECT_TIMEOUT=3 "$PROGRAMS/psql" -XAtq -v ON_ERROR_STOP=1 \
    -h "$(address "$n")" -U "$user" -d "$database" -c "$@"
}

# ---- the first start and the next ones ------------------------------------------------------------------------------

first_start() {
  new_set shared
  local began
  began=$(milliseconds)
  pod_up 0
  pod_up 1
  # The first moment at which pgset-0 is ready, everything is there.
  until pod_ready 0; do
    pod_running 0 || fail "the container of pgset-0 ended"
    expect_match "readiness of pgset-0" "$OUT" '[a-z]*'
    sleep 0.1
  done
  local primary=$(($(milliseconds) - began))
  expect "the user's own database" "$(network_sql 0 "$DB_USER" "$USER_PASSWORD" "$DATABASE" "CREATE TABLE mine (n int); SELECT current_user")" "$DB_USER"
  # The first moment at which pgset-1 is ready, it has streamed.
  wait_ready 1
  expect_streaming 1 0
  expect_primary 0
  echo "note: ready after $primary and $(($(milliseconds) - began)) ms"
  expect restarts "$RESTARTS" 0

  expect "data checksums" "$(pod_sql 0 'SHOW data_checksums')" on
  expect "the superuser by network" "$(network_sql 0 postgres "$SUPERUSER_PASSWORD" postgres 'SELECT 1')" 1
  network_sql 0 postgres wrong postgres 'SELECT 1' && fail "a wrong password is let in"
  network_sql 1 "$DB_USER" "$USER_PASSWORD" "$DATABASE" 'CREATE TABLE x ()' && fail "the replica takes writes"
  expect "hashes" "$(pod_sql 0 "SELECT count(*) FROM pg_authid WHERE rolpassword LIKE 'SCRAM-SHA-256%'")" 3
  expect slots "$(pod_sql 0 'SELECT count(*) FROM pg_replication_slots')" 0
  expect "folders" "$(ls "$S/data")" $'pgset-0\npgset-1'
  expect "modes" "$(stat -c %a "$(folder 0)" "$(folder 1)")" $'700\n700'
  grep -rlaF -e "$REPLICATION_PASSWORD" -e "$SUPERUSER_PASSWORD" "$S/data" "$S/pods/0/log" "$S/pods/1/log" && fail "a password is stored in the clear"
  expect "the passfile's mode" "$(stat -c %a "$S/pods/1/run/passfile")" 600
  local system
  system=$(system_of 0)
  expect "the replica's marker" "$(cat "$(folder 1)/pgset.complete")" $'format=1\nmajor='"$MAJOR"$'\nsystem-identifier='"$system"$'\nretired='
}

restart() {
  living_set shared
  start_both
  pod_stop 0
  expect "exit code of a stopped primary" "$EXIT" 0
  pod_stop 1
  expect "exit code of a stopped replica" "$EXIT" 0
  # Most pods come back without what the old one had in memory, and in any order.
  pod_delete 1
  pod_up 1
  pod_up 0
  wait_ready 0
  wait_ready 1
  expect_primary 0
  expect_streaming 1 0
  expect "what was kept" "$(pod_sql 1 'SELECT n FROM kept')" 1
  expect restarts "$RESTARTS" 0
  expect "asides" "$(asides 1)" 0
}

stop_is_fast() {
  living_set
  start_both
  pod_exec 0 "$PROGRAMS/psql" -X -h /pgset/run -U postgres -c 'SELECT pg_sleep(100)' >/dev/null 2>&1 &
  wait_until 5 "the session is there" session_sleeps 0
  local began
  began=$(milliseconds)
  pod_stop 0
  local took=$(($(milliseconds) - began))
  echo "note: with a busy session $took ms"
  [ "$took" -lt 5000 ] || fail "stopping took $took ms"
  expect "exit code" "$EXIT" 0
  expect_match "last line of the log" "$(pod_log 0 | tail -n 1)" "*database system is shut down"
}
session_sleeps() {
  [ "$(pod_sql "$1" "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'")" = 1 ]
}

# preStop and SIGTERM are heard at every moment of a start.
stopped_at_any_moment() {
  living_set
  local rounds=8 round
  [ -z "${PGSET_LONG_TESTS-}" ] || rounds=100
  for ((round = 0; round < rounds; round++)); do
    pod_up $((round % 2))
    sleep "0.$(printf '%03d' $((RANDOM % 500)))"
    pod_stop $((round % 2))
    [ "$EXIT" = 0 ] || [ "$EXIT" = 143 ] || fail "exit code $EXIT"
  done
  start_both
  expect_streaming 1 0
}

replica_readiness() {
  living_set
  start_both
  # Once it has streamed, it serves reads without its primary.
  pod_kill 0
  pod_ready 1 || fail "a replica that had streamed is not ready: $OUT"
  # Started without a primary it accepts connections, but is not ready; it says why, and is alive.
  pod_stop 1
  pod_up 1
  wait_until 10 "the replica accepts connections" pod_sql 1 'SELECT 1'
  wait_until 10 "the replica says why it is not ready" not_ready_saying 1 'the replica does not stream: no member of pgset answers as the primary'
  pod_script 1 live.sh || fail "the replica is not alive"
  pod_up 0
  wait_ready 0
  wait_ready 1
  expect_streaming 1 0
  expect restarts "$RESTARTS" 0
  # A server that answers nothing at all is not alive.
  kill -STOP "$(pod_init 1)"
  expect "liveness of a stopped server" "$(pod_script 1 live.sh)" "PostgreSQL does not answer on port 5432"
  kill -CONT "$(pod_init 1)"
}

# SIGTERM before there is PostgreSQL: quick, and the next start is right.
terminated_early() {
  new_set
  pod_up 1
  expect_waiting 1 'pgset-1 has no data yet: waiting for the primary to clone it from: *'
  expect_terminated 1
  pod_up 0
  wait_until 10 "initdb runs" phase_is 0 'initialising*'
  sleep 0.4
  expect_terminated 0
  expect "folders" "$(ls "$(volume 0)")" pgset-0.tmp
  pod_up 0
  wait_ready 0
  pod_rate 0 50mbit
  pod_up 1
  wait_until 10 "the clone runs" phase_is 1 'cloning*'
  expect_terminated 1
  pod_rate 0
  pod_up 1
  wait_ready 1
  expect_streaming 1 0
  expect "folders" "$(ls "$(volume 0)" "$(volume 1)")" "$(volume 0):"$'\npgset-0\n\n'"$(volume 1):"$'\npgset-1'
}
expect_terminated() {
  local began
  began=$(milliseconds)
  pod_script "$1" stop.sh || fail "stop.sh failed"
  pod_term "$1"
  pod_wait_exit "$1" 5
  expect "exit code" "$EXIT" 143
  [ $(($(milliseconds) - began)) -lt 2000 ] || fail "SIGTERM took $(($(milliseconds) - began)) ms"
}

# ---- an empty member ------------------------------------------------------------------------------------------------

# pgset-0 lost its volume after pgset-1 was promoted.
empty_member_0_clones() {
  living_set
  start_both
  pod_delete 0
  promote 1
  pod_sql 1 "INSERT INTO kept VALUES (2)"
  rm -rf "$(folder 0)"
  pod_up 0
  wait_ready 0
  expect_primary 1
  expect_streaming 0 1
  expect restarts "$RESTARTS" 0
  caught_up 0 1
  expect "what was kept" "$(pod_sql 0 'SELECT array_agg(n ORDER BY n) FROM kept')" "{1,2}"
}

identity_on_record() {
  living_set
  start_both
  system_of 0 >"$S/state/system-identifier"
  pod_delete 0
  pod_delete 1
  rm -rf "$(folder 0)"
  pod_up 0
  expect_waiting 0 "pgset-0 has no data, but the set exists (system * is on record): waiting for the primary to clone it from: *"
  expect "folders" "$(ls "$(volume 0)")" ""
  # A replica alone does not end the wait; a primary does.
  pod_up 1
  wait_until 10 "the replica accepts connections" pod_sql 1 'SELECT 1'
  sleep 0.7
  expect "folders" "$(ls "$(volume 0)")" ""
  promote 1
  wait_ready 0
  expect_streaming 0 1
}

data_of_a_sibling() {
  living_set shared
  rm -rf "$(folder 0)"
  pod_up 0
  expect_waiting 0 "pgset-0 has no data, but the set exists (/pgdata/pgset-1 holds some): waiting for the primary*"
  pod_delete 0
  # Another set's folder, or a half-made one, does not count; a folder put aside does.
  rm -rf "$(folder 1)"
  mkdir -p "$S/data/pgset-x-1/global" "$S/data/pgset-1.tmp/global"
  touch "$S/data/pgset-x-1/PG_VERSION" "$S/data/pgset-x-1/global/pg_control" "$S/data/pgset-1.tmp/PG_VERSION" "$S/data/pgset-1.tmp/global/pg_control"
  cp -a "$S/data/pgset-x-1" "$S/data/pgset-0.stale-20260101T000000Z"
  pod_up 0
  expect_waiting 0 "pgset-0 has no data, but the set exists (/pgdata/pgset-0.stale-20260101T000000Z holds some): waiting for the primary*"
  pod_delete 0
  rm -rf "$S/data/pgset-0.stale-20260101T000000Z"
  pod_up 0
  wait_until 10 "initdb runs" phase_is 0 'initialising*'
}

# Nothing is on record, and only a replica answers, or a server that refuses: the set exists all the same.
any_member_counts() {
  living_set
  pod_up 1
  wait_until 10 "the replica accepts connections" pod_sql 1 'SELECT 1'
  rm -rf "$(folder 0)"
  pod_up 0
  expect_waiting 0 "pgset-0 has no data, but the set exists (pgset-1 answers): waiting for the primary*"
  pod_delete 0
  write_secret replication wrong
  pod_up 0
  expect_waiting 0 "pgset-0 has no data, but a member answers (with an error): waiting for the primary to clone it from: a member refuses the password of the replication user \"primaryuser\""
  expect "folders" "$(ls "$(volume 0)")" ""
}

no_dns_no_initialisation() {
  new_set
  master none
  pod_up 0
  expect_waiting 0 "pgset-0 has no data: asking for the other members before it is initialised: DNS does not know pgset-master"
  expect "folders" "$(ls "$(volume 0)")" ""
  master ''
  wait_ready 0
  expect_primary 0
}

# ---- who is the primary ---------------------------------------------------------------------------------------------

second_primary_refused() {
  living_set
  start_both
  pod_kill 0
  promote 1
  pod_sql 1 "INSERT INTO kept VALUES (2)"
  local before
  before=$(fingerprint "$(folder 0)")
  pod_up 0
  expect_refusal 0 79 "pgset-1 is the primary already, on timeline 2 (/pgdata/pgset-0 is on 1): to let pgset-0 follow it, create the file /pgdata/pgset-0/standby.signal"
  expect "the refused folder" "$(fingerprint "$(folder 0)")" "$before"
  # The newer one is not stopped by the older.
  pod_stop 1
  pod_up 0
  wait_ready 0
  pod_up 1
  wait_ready 1
  expect_primary 1
}

# A planned switchover, there and back: nobody is cloned.
switchover() {
  living_set
  start_both
  switch_over 0 1
  expect_streaming 0 1
  pod_sql 1 "INSERT INTO kept VALUES (2)"
  switch_over 1 0
  expect_streaming 1 0
  expect "what was kept" "$(pod_sql 0 'SELECT array_agg(n ORDER BY n) FROM kept')" "{1,2}"
  expect asides "$(asides 0)$(asides 1)" 00
  expect restarts "$RESTARTS" 0
}
switch_over() {
  pod_sql "$1" CHECKPOINT
  touch "$(folder "$1")/standby.signal"
  chown "$RUN_UID" "$(folder "$1")/standby.signal"
  pod_ready "$1" || fail "the primary is not ready with standby.signal in its folder: $OUT"
  pod_stop "$1"
  promote "$2"
  pod_up "$1"
  wait_ready "$1"
  expect_primary "$2"
}

# What `pgset promote` runs in the primary: it comes back as a standby on the same folder, without being cloned, also one that a
# scale-down had noted, and it is promoted itself where nobody else is.
steps_down() {
  living_set shared
  start_both
  pod_script 1 step-down.sh || fail "step-down.sh failed on a standby"
  expect_streaming 1 0
  printf 'pgset-0 noted\n' >"$S/state/retired"
  pod_sql 0 "INSERT INTO kept VALUES (2)"
  # PostgreSQL is process 1 and may take the script with it before that has ended.
  OUT=$(pod_script 0 step-down.sh)
  pod_wait_exit 0
  expect "exit code of the primary that stepped down: $OUT" "$EXIT" 0
  pod_up 0
  wait_until 20 "member 0 answers as a standby" is_standby 0
  expect "member 1 has all" "$(pod_sql 1 "SELECT pg_last_wal_replay_lsn() >= '$(pod_sql 0 'SELECT pg_last_wal_replay_lsn()')'")" t
  ! pod_ready 0 || fail "a standby without a primary is ready"
  promote 1
  wait_ready 0
  expect_streaming 0 1
  expect "what was kept" "$(pod_sql 0 'SELECT array_agg(n ORDER BY n) FROM kept')" "{1,2}"
  # Cut short before the shutdown, it is taken back; nobody else's is.
  pod_exec 1 touch /pgdata/pgset-1/standby.signal
  take_back 1
  take_back 0
  [ ! -e "$(folder 1)/standby.signal" ] || fail "standby.signal is still there"
  [ -e "$(folder 0)/standby.signal" ] || fail "a standby was made a primary"
  # And back where it came from: the one that stepped down is the newest.
  OUT=$(pod_script 1 step-down.sh)
  pod_wait_exit 1
  pod_up 1
  wait_until 20 "member 1 answers as a standby" is_standby 1
  promote 1
  wait_ready 1
  wait_until 20 "member 0 follows again" streams_from 0 1
  expect asides "$(asides 0)$(asides 1)" 00
}
take_back() {
  OUT=$(pod_exec "$1" env POD_NAME="$SET-$1" /bin/sh /pgset/config/step-down.sh back 2>&1) || fail "step-down.sh back failed on member $1: $OUT"
}
is_standby() {
  [ "$(pod_sql "$1" "SELECT pg_is_in_recovery()" 2>/dev/null)" = t ]
}
streams_from() {
  [ "$(pod_sql "$2" "SELECT state FROM pg_stat_replication WHERE application_name = '$SET-$1'")" = streaming ]
}

# ---- a standby that cannot go on ------------------------------------------------------------------------------------

retired_member() {
  living_set shared
  start_both
  # The token is for a member that comes back; for the primary it means nothing.
  printf 'pgset-0 zero\npgset-1 first\npgset-2 other\npgset-1 second\n' >"$S/state/retired"
  pod_stop 1
  pod_up 1
  wait_ready 1
  expect_streaming 1 0
  expect asides "$(asides 1)" 1
  expect_match "log" "$(pod_log 1)" "*pgset: the old folder stays as /pgdata/pgset-1.stale-20[0-9][0-9]*T*Z*"
  expect "token" "$(grep retired "$(folder 1)/pgset.complete")" retired=second
  # Once.
  pod_stop 1
  pod_stop 0
  pod_up 1
  pod_up 0
  wait_ready 0
  wait_ready 1
  expect asides "$(asides 0)$(asides 1)" 01
  expect restarts "$RESTARTS" 0
}

wal_gone() {
  living_set
  start_both
  pod_stop 1
  write_much 0
  pod_up 1
  wait_ready 1
  expect_match log "$(pod_log 1)" "*pgset-1 cannot follow pgset-0: the WAL it needs next is gone from pgset-0*"
  expect_streaming 1 0
  expect asides "$(asides 1)" 1
  expect restarts "$RESTARTS" 0
}

# As before, but the replica is there first and cannot ask: it restarts itself to be cloned.
wal_gone_seen_late() {
  living_set
  start_both
  pod_stop 1
  write_much 0
  pod_stop 0
  pod_up 1
  wait_until 10 "the replica accepts connections" pod_sql 1 'SELECT 1'
  pod_up 0
  wait_ready 0
  wait_ready 1 30
  expect_streaming 1 0
  expect asides "$(asides 1)" 1
  expect restarts "$RESTARTS" 1
}

# A replica that has streamed keeps serving reads when it loses its WAL; restarting it is the way to a new clone.
wal_gone_after_streaming() {
  living_set
  start_both
  pod_sql 0 "ALTER ROLE $REPLICATION_USER NOLOGIN" -c 'SELECT pg_terminate_backend(pid) FROM pg_stat_replication' >/dev/null
  wait_until 10 "the replica is refused" says_in_log 1 'is not permitted to log in'
  write_much 0
  pod_sql 0 "ALTER ROLE $REPLICATION_USER LOGIN"
  wait_until 10 "the replica's log says so" says_in_log 1 'has already been removed'
  pod_ready 1 || fail "a replica that has streamed stays ready: $OUT"
  expect asides "$(asides 1)" 0
  pod_sql 0 "INSERT INTO kept VALUES (2)"
  pod_delete 1
  pod_up 1
  wait_ready 1
  expect_match log "$(pod_log 1)" "*pgset-1 cannot follow pgset-0: the WAL it needs next is gone from pgset-0*"
  expect_match log "$(pod_log 1)" "*pgset: the old folder stays as /pgdata/pgset-1.stale-*"
  expect_streaming 1 0
  expect "what was kept" "$(pod_sql 1 'SELECT array_agg(n ORDER BY n) FROM kept')" "{1,2}"
  expect asides "$(asides 1)" 1
  expect restarts "$RESTARTS" 0
}

# The replica has the WAL itself, it only has not applied it when it is killed: cloning would be a waste.
local_wal_spares_a_clone() {
  living_set
  start_both
  pod_sql 1 "CHECKPOINT; SELECT pg_wal_replay_pause()" >/dev/null
  wait_until 5 "replay is paused" replay_paused
  write_much 0
  pod_sql 0 "INSERT INTO kept VALUES (2)"
  wait_until 10 "the replica has received everything" received 1 0
  pod_kill 1
  pod_up 1
  wait_ready 1
  expect_streaming 1 0
  caught_up 1 0
  expect "what was kept" "$(pod_sql 1 'SELECT array_agg(n ORDER BY n) FROM kept')" "{1,2}"
  expect asides "$(asides 1)" 0
}
replay_paused() {
  [ "$(pod_sql 1 'SELECT pg_is_wal_replay_paused()')" = t ]
}
received() {
  [ "$(pod_sql "$1" 'SELECT pg_last_wal_receive_lsn()')" = "$(pod_sql "$2" 'SELECT pg_current_wal_lsn()')" ]
}

# pgset-2 has gone past the point at which pgset-1 was promoted.
three_with_a_fork() {
  living_set
  start_both
  pod_up 2
  wait_ready 2
  caught_up 1 0
  pod_stop 1
  pod_sql 0 "INSERT INTO kept SELECT generate_series(100, 200)" >/dev/null
  caught_up 2 0
  pod_stop 2
  pod_stop 0
}

diverged() {
  three_with_a_fork
  pod_up 1
  wait_until 10 "pgset-1 accepts connections" pod_sql 1 'SELECT 1'
  promote 1
  pod_up 2
  wait_ready 2
  expect_match log "$(pod_log 2)" "*pgset-2 cannot follow pgset-1: it went past 0/* on timeline 1, where pgset-1's timeline 2 begins*"
  expect_streaming 2 1
  expect asides "$(asides 2)" 1
  expect "what pgset-2 has" "$(pod_sql 2 'SELECT count(*) FROM kept')" 1
}

diverged_seen_late() {
  three_with_a_fork
  pod_up 2
  wait_until 10 "pgset-2 accepts connections" pod_sql 2 'SELECT 1'
  pod_up 1
  wait_until 10 "pgset-1 accepts connections" pod_sql 1 'SELECT 1'
  # pgset-1 has to be promoted before it hears of pgset-2, which it cannot: neither is a primary.
  promote 1
  wait_ready 2 30
  expect_streaming 2 1
  expect asides "$(asides 2)" 1
  [ "$RESTARTS" -le 2 ] || fail "$RESTARTS restarts"
}

# The old primary died with WAL that nobody has. Told to follow, it is cloned; its folder stays.
old_primary_follows() {
  living_set
  start_both
  caught_up 1 0
  pod_stop 1
  pod_sql 0 "INSERT INTO kept SELECT generate_series(100, 200)" >/dev/null
  pod_kill 0
  pod_up 1
  wait_until 10 "pgset-1 accepts connections" pod_sql 1 'SELECT 1'
  promote 1
  touch "$(folder 0)/standby.signal"
  chown "$RUN_UID" "$(folder 0)/standby.signal"
  pod_up 0
  wait_ready 0 30
  expect_streaming 0 1
  expect asides "$(asides 0)" 1
  [ "$RESTARTS" -le 2 ] || fail "$RESTARTS restarts"
}

# The only primary in sight is older than the replica: following or cloning would throw the newer data away.
older_primary_is_not_followed() {
  living_set
  start_both
  pod_up 2
  wait_ready 2
  pod_kill 0
  promote 1
  wait_until 10 "pgset-2 follows" streams_on_timeline 2 2
  pod_sql 1 "INSERT INTO kept VALUES (2); CHECKPOINT"
  caught_up 2 1
  pod_sql 2 CHECKPOINT
  pod_stop 2
  pod_stop 1
  pod_up 0
  wait_ready 0
  pod_up 2
  wait_until 20 "pgset-2 says why" not_ready_saying 2 'the replica does not stream: the primary pgset-0 is on timeline 1, older than its own 2'
  expect asides "$(asides 2)" 0
  expect "what pgset-2 has" "$(pod_sql 2 'SELECT array_agg(n ORDER BY n) FROM kept')" "{1,2}"
}
streams_on_timeline() {
  [ "$(pod_sql "$1" "SELECT status || received_tli FROM pg_stat_wal_receiver")" = "streaming$2" ]
}

# ---- folders that are refused ---------------------------------------------------------------------------------------

# $1: which pod; $2 exit code; $3 sentence. Nothing under its volume changes, however often it is tried.
expect_untouched_refusal() {
  local before
  before=$(fingerprint "$(volume "$1")")
  pod_up "$1"
  expect_refusal "$1" "$2" "$3"
  pod_up "$1"
  expect_refusal "$1" "$2" "$3"
  expect "the volume" "$(fingerprint "$(volume "$1")")" "$before"
}

foreign_major() {
  living_set
  echo 11 >"$(folder 0)/PG_VERSION"
  mkdir "$(folder 0).tmp"
  expect_untouched_refusal 0 78 "/pgdata/pgset-0 is of PostgreSQL 11, but the image has PostgreSQL $MAJOR: use an image of 11, or move the data with a dump"
}

foreign_system() {
  living_set
  echo 7000000000000000001 >"$S/state/system-identifier"
  expect_untouched_refusal 0 78 "/pgdata/pgset-0 is of another database system, *: this set is system 7000000000000000001"
  expect_untouched_refusal 1 78 "/pgdata/pgset-1 is of another database system, *: this set is system 7000000000000000001"
  # A standby whose primary is somebody else's.
  rm "$S/state/system-identifier"
  pod_delete 0
  rm -rf "$(folder 0)"
  pod_up 0
  wait_ready 0
  expect_untouched_refusal 1 78 "/pgdata/pgset-1 is a replica of system *, but the primary pgset-0 is of system *"
  # An empty member does not clone somebody else's either.
  system_of 0 | tr 0-9 1-90 >"$S/state/system-identifier"
  rm -rf "$(folder 1)"
  expect_untouched_refusal 1 78 "pgset-0 is the primary of another database system, *: this set is system *"
}

unmarked_folder() {
  living_set
  rm "$(folder 0)/pgset.complete"
  expect_untouched_refusal 0 78 "/pgdata/pgset-0 holds PostgreSQL data which pgset did not put there: to adopt it, make sure that nothing else uses it and create the empty file /pgdata/pgset-0/pgset.complete; otherwise move it away"
  # It does what it says.
  touch "$(folder 0)/pgset.complete"
  chown "$RUN_UID" "$(folder 0)/pgset.complete"
  start_both
  expect_streaming 1 0
  expect marker "$(sed -n 1,2p "$(folder 0)/pgset.complete")" $'format=1\nmajor='"$MAJOR"
}

damaged_folder() {
  living_set
  rm "$(folder 1)/global/pg_control"
  expect_untouched_refusal 1 78 "/pgdata/pgset-1 is not empty, but not a whole PostgreSQL data folder either: rename it or move it away, and restart the pod"
  dd if=/dev/zero of="$(folder 0)/global/pg_control" bs=256 count=1 conv=notrunc status=none
  expect_untouched_refusal 0 78 "the control file of /pgdata/pgset-0 *"
}

wrong_owner() {
  living_set
  chown 12345 "$(folder 0)"
  expect_untouched_refusal 0 77 "/pgdata/pgset-0 belongs to uid 12345, but the pod runs as uid 999: PostgreSQL needs them to be the same"
  # What a kubelet that applies fsGroup does is mended.
  chown 999 "$(folder 0)"
  chmod 2770 "$(folder 0)"
  pod_up 0
  wait_ready 0
}

# A folder that is taken away between two looks, as it happens on NFS: here by what makes the first look.
vanished_folder() {
  living_set
  local before
  before=$(fingerprint "$(folder 0)")
  # shellcheck disable=SC2016 # The member's script expands it.
  echo 'rmdir() { mv "$1" "$1.elsewhere" && return 1; }' >>"$S/config/lib.sh"
  pod_up 0
  expect_refusal 0 78 "the member's data folder was there and cannot be looked at any more: stat: *: No such file or directory"
  expect "what the member made" "$(ls "$(volume 0)")" pgset-0.elsewhere
  mv "$(folder 0).elsewhere" "$(folder 0)"
  expect "the folder" "$(fingerprint "$(folder 0)")" "$before"
  cp "$SCRIPTS/lib.sh" "$S/config/"
  start_both
  expect_streaming 1 0
}

unwritable_volume() {
  new_set
  make_volume 0
  chmod 0755 "$(volume 0)"
  pod_up 0
  expect_refusal 0 77 "cannot write to /pgdata as uid 999: mkdir: *Permission denied"
}

full_volume() {
  living_set
  start_both
  pod_delete 1
  rm -rf "$(folder 1)"
  mount -t tmpfs -o mode=0777,size=20m tmpfs "$(volume 1)"
  pod_up 1
  wait_until 10 "the readiness says so" not_ready_saying 1 'cloning from pgset-0 failed and is tried again: it takes [0-9]* MB, and only 20 MB are free on /pgdata'
  expect folders "$(ls "$(volume 1)")" pgset-1.tmp
  mount -o remount,size=200m "$(volume 1)"
  wait_ready 1
  expect_streaming 1 0
  # An initialisation that does not fit.
  pod_delete 0
  pod_delete 1
  umount "$(volume 1)"
  rm -rf "$(folder 0)"
  mount -t tmpfs -o mode=0777,size=5m tmpfs "$(volume 0)"
  pod_up 0
  expect_refusal 0 1 "initdb failed: *No space left on device: /pgdata is full: * of 5 MB and * inodes are free"
  umount "$(volume 0)"
}

# A volume that has room for bytes but not for files says which.
volume_without_inodes() {
  new_set
  make_volume 0
  mount -t tmpfs -o mode=0777,size=200m,nr_inodes=200 tmpfs "$(volume 0)"
  pod_up 0
  expect_refusal 0 1 "initdb failed: *No space left on device: /pgdata is full: * of 200 MB and * of 200 inodes are free"
  mount -o remount,nr_inodes=20000 "$(volume 0)"
  pod_up 0
  wait_ready 0
  make_volume 1
  mount -t tmpfs -o mode=0777,size=200m,nr_inodes=200 tmpfs "$(volume 1)"
  pod_up 1
  wait_until 20 "the readiness says so" not_ready_saying 1 'cloning from pgset-0 failed and is tried again: *No space left on device: /pgdata is full: * of 200 MB and * of 200 inodes are free*'
  mount -o remount,nr_inodes=20000 "$(volume 1)"
  wait_ready 1
  expect_streaming 1 0
  pod_delete 0
  pod_delete 1
  umount "$(volume 0)" "$(volume 1)"
}

# What a member answers to the replication user is said, and not only that nobody is the primary.
refused_by_the_primary() {
  living_set
  start_both
  pod_delete 1
  rm -rf "$(folder 1)"
  pod_sql 0 "ALTER ROLE $REPLICATION_USER NOLOGIN"
  pod_up 1
  expect_waiting 1 "pgset-1 has no data yet: waiting for the primary to clone it from: a member does not let the replication user \"$REPLICATION_USER\" log in or replicate"
  pod_sql 0 "ALTER ROLE $REPLICATION_USER LOGIN NOREPLICATION"
  expect_waiting 1 "pgset-1 has no data yet: waiting for the primary to clone it from: a member does not let the replication user \"$REPLICATION_USER\" log in or replicate"
  sed -i '/replication/d' "$S/config/pg_hba.conf"
  pod_sql 0 "ALTER ROLE $REPLICATION_USER REPLICATION" -c 'SELECT pg_reload_conf()' >/dev/null
  expect_waiting 1 "pgset-1 has no data yet: waiting for the primary to clone it from: a member has no pg_hba.conf entry that lets the replication user \"$REPLICATION_USER\" in"
  cp "$SCRIPTS/pg_hba.conf" "$S/config/pg_hba.conf"
  pod_sql 0 'SELECT pg_reload_conf()' >/dev/null
  wait_ready 1
  expect_streaming 1 0
}

missing_secret() {
  new_set
  rm "$S/passwords/superuser"
  pod_up 0
  expect_refusal 0 78 "there is no password \"superuser\" in the Secret (looked for /pgset/passwords/superuser)"
  write_secret superuser "$SUPERUSER_PASSWORD"
  write_secret replication ''
  pod_up 1
  expect_refusal 1 78 "there is no password \"replication\" in the Secret (looked for /pgset/passwords/replication)"
}

# ---- odd surroundings -----------------------------------------------------------------------------------------------

hostile_names() {
  SET=my-set-2
  DATABASE="my-\"db\" \\\$x" DB_USER="o'brien \"x\" \\" REPLICATION_USER="re:pl \\'\" i"
  SUPERUSER_PASSWORD="'; DROP TABLE x; --\\" REPLICATION_PASSWORD=" a:b\\c'd\"e\$f\`g h%s#\\" USER_PASSWORD="*?[x]{\$(id)}&|<>~! \\'"
  new_set shared
  start_both
  expect_streaming 1 0
  expect "the user" "$(network_sql 0 "$DB_USER" "$USER_PASSWORD" "dbname='my-\"db\" \\\\\$x'" 'SELECT current_user')" "$DB_USER"
  expect "the superuser" "$(network_sql 0 postgres "$SUPERUSER_PASSWORD" postgres 'SELECT 1')" 1
  expect "the database's owner" "$(pod_sql 0 "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname LIKE 'my-%'")" "$DB_USER"
  expect folders "$(ls "$S/data")" $'my-set-2-0\nmy-set-2-1'
}

uid_without_a_name() {
  WITHOUT_NAME=yes
  new_set
  pod_up 0
  if [ -e "$(echo "$ROOTFS"/usr/lib/*/libnss_wrapper.so)" ]; then
    echo "note: with nss_wrapper"
  else
    expect_refusal 0 78 "initdb needs a name for uid 999, and the image has none: run the pod as the image's own postgres user"
    WITHOUT_NAME=
    pod_up 0
  fi
  wait_ready 0
  WITHOUT_NAME=yes
  pod_up 1
  wait_ready 1
  expect_streaming 1 0
}

clone_is_retried() {
  living_set
  rm -rf "$(folder 1)"
  pod_up 0
  wait_ready 0
  pod_rate 0 50mbit
  pod_up 1
  wait_until 10 "the clone runs" phase_is 1 'cloning from pgset-0'
  pod_kill 0
  pod_rate 0
  wait_until 10 "the failure is said" says_in_log 1 "pgset: cloning from pgset-0 failed: *; trying again in 1 s"
  pod_up 0
  wait_ready 0
  wait_ready 1
  expect_streaming 1 0
  expect restarts "$RESTARTS" 0
}

clone_says_how_far() {
  living_set
  rm -rf "$(folder 1)"
  pod_up 0
  wait_ready 0
  pod_rate 0 120mbit
  pod_up 1
  wait_until 15 "the readiness says how far the clone is" not_ready_saying 1 'cloning from pgset-0: [0-9]* of [0-9]* MB copied'
  echo "note: \"$OUT\""
  wait_ready 1 30
}

# Outside a cluster, or with a resolver of the user's own, there is no search domain to make names absolute with.
names_without_a_domain() {
  DOMAIN=''
  living_set
  rm -rf "$(folder 1)"
  start_both
  expect_streaming 1 0
}

# A member's address still is in DNS, but its node does not answer any more.
a_node_is_gone() {
  living_set
  start_both
  pod_stop 1
  LIVING='3 0 1'
  write_hosts
  pod_up 1
  wait_ready 1 15
  expect_streaming 1 0
  pod_stop 0
  pod_up 0
  wait_ready 0 15
}

# A resolver that never answers delays a start and a probe, but not for long.
dns_hangs() {
  living_set
  rm -rf "$(folder 1)"
  start_both
  pod_stop 1
  MASTER=none LIVING=''
  write_hosts
  echo "nameserver $NET.99" >>"$S/resolv.conf"
  pod_up 1
  wait_until 30 "the replica accepts connections" pod_sql 1 'SELECT 1'
  local began took slowest=0 i
  for i in 1 2 3 4 5 6; do
    began=$(milliseconds)
    pod_ready 1 && fail "the replica is ready"
    took=$(($(milliseconds) - began))
    [ "$took" -le "$slowest" ] || slowest=$took
  done
  echo "note: the slowest probe took $slowest ms"
  [ "$slowest" -lt 5000 ] || fail "a probe took $slowest ms"
}

# ---- kill -9 --------------------------------------------------------------------------------------------------------

# The whole pod is killed at a random moment of its initialisation, of a first or a second clone, or of a start and the life with
# writes after it. The next start has to end in a correct member, at once, with everything that was ever acknowledged.
killed() {
  local rounds=3
  [ -z "${PGSET_LONG_TESTS-}" ] || rounds=60
  while [ "$rounds" -gt 0 ]; do
    killed_initialising
    killed_cloning
    killed_cloning_again
    killed_living $((rounds % 2))
    rounds=$((rounds - 1))
  done
  expect "containers that ended by themselves" "$RESTARTS" 0
  echo "note: $KILLS kills"
}
KILLS=0

# Kills pod $1 within $2 ms.
kill_within() {
  local delay=$((RANDOM % $2))
  sleep "$((delay / 1000)).$(printf '%03d' $((delay % 1000)))"
  KILLS=$((KILLS + 1))
  echo "kill $KILLS: pod $1 after $delay ms: $(cat "$S/pods/$1/run/phase" 2>/dev/null)"
  pod_running "$1" || fail "the container of pod $1 ended by itself"
  pod_kill "$1"
}

killed_initialising() {
  end_set
  new_set shared
  pod_up 0
  kill_within 0 2500
  pod_up 0
  wait_ready 0
  expect_primary 0
  expect "the user's own database" "$(network_sql 0 "$DB_USER" "$USER_PASSWORD" "$DATABASE" "SELECT current_user")" "$DB_USER"
  expect folders "$(ls "$S/data")" pgset-0
  [ -e "$(folder 0)/pgset.complete" ] || fail "there is no marker"
}

killed_cloning() {
  end_set
  living_set shared
  rm -rf "$(folder 1)"
  pod_up 0
  wait_ready 0
  pod_rate 0 600mbit
  pod_up 1
  kill_within 1 1500
  pod_up 1
  wait_ready 1
  expect_streaming 1 0
  caught_up 1 0
  expect "what was kept" "$(pod_sql 1 'SELECT n FROM kept')" 1
  expect folders "$(ls "$S/data")" $'pgset-0\npgset-1'
}

# The old folder is put aside once, whenever the kill comes.
killed_cloning_again() {
  end_set
  living_set shared
  pod_up 0
  wait_ready 0
  echo "pgset-1 token" >"$S/state/retired"
  pod_rate 0 600mbit
  pod_up 1
  kill_within 1 1500
  pod_up 1
  wait_ready 1
  expect_streaming 1 0
  caught_up 1 0
  expect "what was kept" "$(pod_sql 1 'SELECT n FROM kept')" 1
  expect asides "$(asides 1)" 1
  expect "half-made folders" "$(find "$S/data" -name '*.tmp' | wc -l)" 0
}

killed_living() {
  end_set
  living_set shared
  start_both
  if [ "$1" = 1 ]; then
    # A replica is killed in the middle of catching up.
    pod_stop 1
    pod_sql 0 "INSERT INTO kept SELECT generate_series(1000000, 1100000)" >/dev/null
    pod_up 1
  else
    pod_stop 0
    pod_up 0
  fi
  writer &
  local writer=$!
  kill_within "$1" 1500
  pod_up "$1"
  wait_ready 0
  wait_ready 1
  kill "$writer" 2>/dev/null
  wait "$writer" 2>/dev/null
  expect_primary 0
  wait_until 20 "member 1 streams again" streams_on_timeline 1 1
  expect_streaming 1 0
  caught_up 1 0
  local acknowledged
  acknowledged=$(grep -c . "$S/acknowledged")
  echo "$acknowledged writes acknowledged"
  for member in 0 1; do
    expect "acknowledged writes on member $member" \
      "$(pod_sql "$member" "SELECT count(*) FROM kept WHERE n BETWEEN 2 AND $((acknowledged + 1))")" "$acknowledged"
  done
  expect asides "$(asides 0)$(asides 1)" 00
}

# Writes 2, 3, 4, ... one by one; each that PostgreSQL has committed is a line in `acknowledged`.
writer() {
  local n pid
  : >"$S/acknowledged"
  until pod_sql 0 'SELECT 1' >/dev/null 2>&1; do
    [ ! -e "$S/pods/0/exit" ] || return
    sleep 0.02
  done
  pid=$(pod_init 0)
  for ((n = 2; n < 20000; n++)); do
    echo "INSERT INTO kept VALUES ($n) RETURNING n;"
  done | nsenter -t "$pid" -m -n -i -u -p -r -S "$RUN_UID" -G "$RUN_UID" /usr/bin/env -C / -i "${POD_ENV[@]}" \
    "$PROGRAMS/psql" -XAtq -v ON_ERROR_STOP=1 -h /pgset/run -U postgres >"$S/acknowledged" 2>/dev/null
}
