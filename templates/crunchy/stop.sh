#!/bin/sh
# preStop: asks PostgreSQL for a fast shutdown. The oldest images do not hear the kubelet's SIGTERM, and the newer ones do
# the same as this when they hear it. Not waiting here is on purpose: the kubelet waits for the container anyway, and a hook
# that still runs when the container ends is reported as failed.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${0%/*}/lib.sh"

# Before PostgreSQL there is only the image's script, which ends at the SIGTERM.
[ -e "$PGDATA/postmaster.pid" ] || exit 0
pg_ctl stop -D "$PGDATA" -m fast -W >/dev/null 2>&1
