#!/bin/bash
# shellcheck source-path=SCRIPTDIR source=setenv.sh
source /opt/cpm/bin/setenv.sh
"$PGROOT/bin/pg_isready" -d postgres -U "$PG_USER"
