#!/bin/sh
# Run in the primary by `pgset promote`: makes its data folder a standby's and shuts PostgreSQL down, fast. The container then
# starts again on the same folder, as a standby that follows whoever is the primary by then.
#
#   step-down.sh        steps down; a PostgreSQL that is a standby already is left alone
#   step-down.sh back   takes back what one that was cut short may have left in the folder of a running primary
#
# Cut short at any moment it leaves a primary that runs on, or a folder that starts as a standby: never a second primary.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${0%/*}/lib.sh"

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

standby=$(local_sql -c 'SELECT pg_is_in_recovery()' 2>&1) || fail "PostgreSQL does not answer: $standby"
[ "$standby" = f ] || exit 0

if [ "${1-}" = back ]; then
  rm -f "$PGDATA/standby.signal" || fail "cannot remove $PGDATA/standby.signal"
  exit 0
fi

# Nothing is newer than a primary's data: whatever a scale-down noted about this member before, it need not be cloned again.
sed "s/^retired=.*/retired=$(retired_token)/" "$PGDATA/$marker" >"$PGDATA/$marker.new" || fail "cannot write to $PGDATA"
mv "$PGDATA/$marker.new" "$PGDATA/$marker" || fail "cannot write to $PGDATA"

# On disk before the shutdown begins: from then on nothing but this file keeps the folder from being a primary's.
touch "$PGDATA/standby.signal" || fail "cannot write to $PGDATA"
sync "$PGDATA/standby.signal" "$PGDATA" 2>/dev/null || sync
problem=$(pg_ctl stop -D "$PGDATA" -m fast -W 2>&1) || {
  rm -f "$PGDATA/standby.signal"
  fail "PostgreSQL cannot be stopped: $problem"
}
