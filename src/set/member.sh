# shellcheck shell=sh disable=SC1090,SC1091,SC2034
# Where a member has its programs and its socket, and how the set's Services are reached: its scripts know. A Crunchy image
# that was left to itself has none of pgset's; there it is as that image's own script has it.
if [ -e "${PGSET_CONFIG:-/pgset/config}/lib.sh" ]; then
  . "${PGSET_CONFIG:-/pgset/config}/lib.sh" || exit 2
else
  for setenv in /opt/cpm/bin/setenv.sh /opt/crunchy/bin/setenv.sh /opt/crunchy/bin/postgres/setenv.sh; do
    [ ! -e "$setenv" ] || . "$setenv" >/dev/null
  done
  # What the image gives: the words of a login's file, else the variable's.
  login() {
    if [ -e "$1" ]; then cat "$1"; else printf '%s' "$2"; fi
  }
  PGSET_RUN=/tmp PGSET_PORT=5432 domain='' PGSET_DATABASE=${PG_DATABASE-}
  PGSET_USER=$(login /pguser/username "${PG_USER-}")
  master_host=${PG_PRIMARY_HOST:-${PG_MASTER_HOST-}}
  folder=/pgmaster
  [ ! -d /pgprimary ] || folder=/pgprimary
  PGPASSWORD=$(login $folder/password "${PG_PRIMARY_PASSWORD:-${PG_MASTER_PASSWORD-}}")
  replication_user=$(login $folder/username "${PG_PRIMARY_USER:-${PG_MASTER_USER-}}")
  export PGPASSWORD
  conninfo() {
    printf "host='%s' port=5432 user='%s' dbname=postgres connect_timeout=2" "$1" "$replication_user"
  }
fi
