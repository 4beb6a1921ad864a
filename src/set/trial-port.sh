#!/bin/sh
# Whether anything answers at $SERVER on the port of NFS. The kubelet says nothing of a server that is not there for
# minutes, since mount keeps trying; this takes seconds.
exec 3>/dev/termination-log

ask() {
  if command -v bash >/dev/null && command -v timeout >/dev/null; then
    # shellcheck disable=SC2016 # The inner shell's own.
    said=$(timeout 5 bash -c 'exec 4<>"/dev/tcp/$0/2049"' "$SERVER" 2>&1)
  elif command -v nc >/dev/null; then
    said=$(nc -z -w 5 "$SERVER" 2049 2>&1)
  else
    said="no program that could ask"
    return 2
  fi
}

ask
code=$?
# A server that has just restarted, or a packet that was lost.
[ $code = 0 ] || { sleep 1; ask; code=$?; }
case "$code $said" in
  "0 "*) word=open ;;
  *[Rr]efused*) word=refused ;;
  *"No route to host"* | *"ost is unreachable"*) word=no-route ;;
  *"etwork is unreachable"* | *"etwork unreachable"*) word=no-network ;;
  "124 "* | "143 "* | *"timed out"*) word=timed-out ;;
  *) word=unknown ;;
esac
echo "port=$word" >&3
