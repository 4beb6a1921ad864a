#!/bin/sh
# Readiness, and the startup probe: the image's own, with one sentence in place of psql's words, because the kubelet shows
# what a probe prints as the pod's event.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "${0%/*}/lib.sh"

unset PGPASSFILE # The image's script has no use for it.
/bin/bash "$PGSET_PROGRAMS/readiness.sh" >/dev/null 2>&1 && exit 0
if [ -e "$PGDATA/postmaster.pid" ]; then
  echo "starting PostgreSQL"
elif [ "$ordinal" = 0 ]; then
  echo "initialising the database"
else
  echo "cloning from $PGSET_MASTER_SERVICE, or waiting for it"
fi
exit 1
