# shellcheck shell=bash
# What every part uses: messages, the lock, waiting, jobs that take long.

STARTED=$SECONDS

# say TEXT: progress, on stderr, since stdout carries data only.
say() { printf '[%3ds] %s\n' $((SECONDS - STARTED)) "$*" >&2; }

# die WHAT [HINT...]
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  local hint
  for hint; do printf 'hint: %s\n' "$hint" >&2; done
  exit 1
}

# with_lock FUNCTION ARGS: one at a time on this machine. The lock goes with the process that holds it, however it ends;
# the long-running components do not inherit it.
with_lock() {
  if [ -z "${LOCK_HELD:-}" ]; then
    mkdir -p "$(dirname "$STATE")" || die "cannot make $(dirname "$STATE")" "run as root, or set PGSET_TEST_STATE"
    exec 9>>"$STATE.lock" || die "cannot open $STATE.lock" "run as root, or set PGSET_TEST_STATE"
    if ! flock -n 9; then
      say "another cluster.sh is at work; waiting for it"
      flock 9
    fi
    LOCK_HELD=yes
  fi
  "$@"
}

# wait_until SECONDS COMMAND: true as soon as the command is, false when the time is over.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
}

# slowly WHAT LOG COMMAND: a job that may take minutes, with a sign of life every 15 s. It runs in the background so
# that an interrupt is acted on at once, and in a process group of its own so that nothing of it survives one.
JOB=
slowly() {
  local what=$1 log=$2 began=$SECONDS
  shift 2
  say "$what"
  mkdir -p "$(dirname "$log")"
  set -m
  "$@" >"$log" 2>&1 </dev/null &
  JOB=$!
  set +m
  local reminded=$SECONDS
  while kill -0 "$JOB" 2>/dev/null; do
    sleep 0.2
    if [ $((SECONDS - reminded)) -ge 15 ]; then
      reminded=$SECONDS
      say "  still at it after $((SECONDS - began)) s: $what"
    fi
  done
  local code=0
  wait "$JOB" || code=$?
  JOB=
  if [ "$code" -ne 0 ]; then
    tail -n 15 "$log" >&2
    die "failed: $what (exit code $code)" "the whole log is $log"
  fi
}

# A signal may arrive while a command's output is being thrown away; its message must not be.
exec 8>&2
interrupted() {
  trap '' INT TERM HUP
  if [ -n "$JOB" ] && kill -TERM -- "-$JOB" 2>/dev/null; then
    wait_until 10 job_is_gone || kill -KILL -- "-$JOB" 2>/dev/null || true
  fi
  printf 'interrupted; run the same command again to go on\n' >&8
  exit 130
}
job_is_gone() { ! kill -0 -- "-$JOB" 2>/dev/null; }
trap interrupted INT TERM HUP

# Nothing may fail without a word.
set -E
trap 'printf "error: %s failed, in %s line %s\n" "${BASH_COMMAND%% *}" "${BASH_SOURCE[0]}" "$LINENO" >&2' ERR

# content_key FILE|-...: a short hash of files' contents and of further words, for a cache's name.
content_key() {
  local word
  for word; do
    if [ -f "$word" ]; then cat "$word"; else printf '%s\n' "$word"; fi
  done | sha256sum | cut -c1-12
}

# The paths end up in configuration files of several kinds.
check_paths() {
  local path
  for path in "$STATE" "$CACHE"; do
    case $path in
      *[!A-Za-z0-9/._+-]* | [!/]*) die "the path \"$path\" will not do" \
        "PGSET_TEST_STATE and PGSET_TEST_CACHE are absolute paths of letters, digits and any of / . _ + -" ;;
    esac
  done
}

# prune FOLDER PREFIX KEEP: other versions of a thing in the cache, once nobody has used them for a month.
prune() {
  touch "$1/$3"
  find "$1" -mindepth 1 -maxdepth 1 -name "$2*" ! -name "$3" -mtime +30 -exec rm -rf {} +
}

# need_space FOLDER MEGABYTES WHAT-FOR
need_space() {
  local folder=$1 free
  while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
  free=$(df --output=avail -BM "$folder" | tail -n 1 | tr -dc 0-9)
  [ "$free" -ge "$2" ] || die "$3 needs $2 MB on the file system of $folder, which has $free MB free" \
    "make room there, or point PGSET_TEST_CACHE and PGSET_TEST_STATE at another disk"
}
