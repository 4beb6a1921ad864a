# shellcheck shell=bash
# Long-running processes: started out of reach of the terminal, found again by PID file, ended by PID.

# A PID may have been given to another process since it was written, so a process is ours only while its command line
# is still the one recorded beside it.
is_running() {
  local pid recorded actual
  { read -r pid <"$RUN/$1.pid" && mapfile -d '' recorded <"$RUN/$1.argv" && mapfile -d '' actual <"/proc/$pid/cmdline"; } \
    2>/dev/null && [ "${recorded[*]}" = "${actual[*]}" ]
}

# Nothing of the caller's stays open: a lock among it, ours or anybody's, would be held for as long as what is started here
# runs.
close_files() {
  local fd
  for fd in "/proc/$BASHPID/fd"/*; do
    fd=${fd##*/}
    if [ "$fd" -gt 2 ]; then exec {fd}>&-; fi
  done
}

# launch NAME COMMAND: nothing when it runs already; one that was started with other flags makes place. The child records its own PID before it becomes the command, so
# there is no moment at which it runs unrecorded.
launch() {
  local name=$1 recorded
  shift
  if is_running "$name"; then
    mapfile -d '' recorded <"$RUN/$name.argv"
    if [ "${recorded[*]}" = "$*" ]; then return; fi
    halt "$name"
  fi
  mkdir -p "$RUN" "$LOGS"
  if [ -f "$LOGS/$name.log" ]; then mv "$LOGS/$name.log" "$LOGS/$name.log.1"; fi
  (
    trap '' INT HUP
    printf '%s\0' "$@" >"$RUN/$name.argv"
    echo "$BASHPID" >"$RUN/$name.pid"
    trap - INT TERM HUP
    close_files
    exec setsid "$@" >"$LOGS/$name.log" 2>&1 </dev/null
  ) &
  local child=$! tries=0
  until is_running "$name" || ! kill -0 "$child" 2>/dev/null || [ "$tries" -ge 200 ]; do
    sleep 0.01
    tries=$((tries + 1))
  done
}

# wait_ready NAME SECONDS COMMAND: waits for a component; says why when it ends instead or does not get there.
wait_ready() {
  local name=$1 deadline=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ! is_running "$name"; then
      tail -n 10 "$LOGS/$name.log" >&2
      die "$name ended instead of getting ready" "its log is $LOGS/$name.log" \
        "if its data is damaged, throw the cluster away: $0 down"
    fi
    if [ "$SECONDS" -ge "$deadline" ]; then
      tail -n 10 "$LOGS/$name.log" >&2
      die "$name is not ready in time" "its log is $LOGS/$name.log"
    fi
    sleep 0.1
  done
}

# send SIGNAL NAME: true when there was a process to send it to.
send() { is_running "$2" && kill "-$1" "$(cat "$RUN/$2.pid")" 2>/dev/null; }

is_gone() { ! is_running "$1"; }

# halt NAME [SECONDS]: ends a process and returns when it is gone; one that outstays the time is killed.
halt() {
  local name=$1
  if send TERM "$name"; then
    if ! wait_until "${2:-20}" is_gone "$name"; then
      send KILL "$name" || true
      wait_until 10 is_gone "$name" || die "$name does not end, PID $(cat "$RUN/$name.pid")"
    fi
  fi
  rm -f "$RUN/$name.pid" "$RUN/$name.argv"
}

# kill_now NAME: for what is thrown away anyway.
kill_now() {
  if send KILL "$1"; then wait_until 10 is_gone "$1" || true; fi
  rm -f "$RUN/$1.pid" "$RUN/$1.argv"
}

# end_strays: a component that runs unrecorded, because its record was lost, would keep the port or the data from a new
# one. One of ours is known by its program and by our state folder in its command line.
end_strays() {
  local folder pid name arguments
  for folder in /proc/[0-9]*; do
    { mapfile -d '' arguments <"$folder/cmdline"; } 2>/dev/null || continue
    [ "${#arguments[@]}" -gt 1 ] || continue
    name=${arguments[0]##*/}
    if [[ "${arguments[1]}" == */no_registry.py && "${arguments[-1]}" == "$STATE/"* ]]; then name=no-registry; fi
    [[ " ${COMPONENTS[*]} " == *" $name "* && "${arguments[*]:1}" == *"$STATE/"* ]] || continue
    pid=${folder#/proc/}
    if is_running "$name" && [ "$(<"$RUN/$name.pid")" = "$pid" ]; then continue; fi
    say "ending a stray $name, PID $pid"
    kill -KILL "$pid" 2>/dev/null || true
    wait_until 10 eval "! kill -0 $pid" || true
  done
}
