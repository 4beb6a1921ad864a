# shellcheck shell=bash
# The cases, in the order of a set's life. Each runs in a subshell with nothing but `new_set` or `living_set` before it.

CASES=(first_start)

# An SQL statement that is true on a replica which streams.
STREAMING="SELECT status = 'streaming' FROM pg_stat_wal_receiver"

first_start() {
  new_set shared
  local began
  began=$(milliseconds)
  pod_up 0
  pod_up 1
  until pod_ready 0; do
    pod_running 0 || fail "the container ended"
    sleep 0.02
  done
  local primary_ready=$(($(milliseconds) - began))
  wait_ready 1
  echo "note: primary ready after $primary_ready ms, replica after $(($(milliseconds) - began)) ms"
  pod_log 0
  pod_log 1
}
