#!/bin/sh
# What a trial pod does with an NFS export: the first things a member does. $SET names the set.
# Its report, a KEY=VALUE a line, is the container's termination message, which needs no right to read logs.
exec >/dev/termination-log
volume=/volumes/0
folder=$volume/.$SET-trial

# One line of whatever a program says.
line() { printf '%s' "$*" | tr '\n' ' '; }

# Does it, or reports the first failure under this key and ends.
try() {
  key=$1
  shift
  said=$("$@" 2>&1) && return
  echo "$key=$(line "${said:-failed without a word}")"
  exit 0
}

write_through() { dd if=/dev/zero of="$folder/block" bs=8192 count=1 conv=fsync; }

echo "uid=$(id -u)"
# shellcheck disable=SC2046 # The words are wanted one by one.
set -- $(ls -ldn "$volume")
echo "mode=$1"
echo "owner=$3:$4"
while read -r _ where kind options _; do
  [ "$where" != "$volume" ] || echo "mount=$kind $options"
done </proc/mounts
# shellcheck disable=SC2046
set -- $(df -Pk "$volume" | tail -n 1)
echo "free=$4"

# One that was killed may have left its own.
rm -rf "$folder" 2>/dev/null
try make mkdir "$folder"
try make chmod 0700 "$folder"
try write write_through
read -r before _ </proc/uptime
for _ in 1 2 3 4 5 6 7 8 9 10; do try write write_through; done
read -r after _ </proc/uptime
echo "began=$before"
echo "ended=$after"
try remove rm -r "$folder"
echo "done=yes"
