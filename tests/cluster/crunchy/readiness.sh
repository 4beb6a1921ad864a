#!/bin/bash
# shellcheck source-path=SCRIPTDIR source=setenv.sh
source /opt/cpm/bin/setenv.sh
# Like the real one: over the socket (PGHOST), so the temporary server of the first start counts as ready.
"$PGROOT/bin/psql" -U "$PG_USER" -c 'select now()' postgres
