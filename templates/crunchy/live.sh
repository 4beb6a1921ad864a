#!/bin/sh
# Liveness: the image's own.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${0%/*}/lib.sh"

unset PGPASSFILE # The image's script has no use for it.
/bin/bash "$PGSET_PROGRAMS/liveness.sh" >/dev/null 2>&1 || {
  echo "PostgreSQL does not answer on port $PGSET_PORT"
  exit 1
}
