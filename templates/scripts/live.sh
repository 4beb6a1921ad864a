#!/bin/sh
# Liveness: fails only when a PostgreSQL that was started gives no answer at all. One that refuses connections (recovery,
# shutdown, too many clients) is alive, and so is a start.sh that still initialises, clones or waits.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${0%/*}/lib.sh"

[ -e "$PGSET_RUN/started" ] || exit 0

answers 3
[ $? -lt 2 ] || {
  echo "PostgreSQL does not answer on port $PGSET_PORT"
  exit 1
}
