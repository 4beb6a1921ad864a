# shellcheck shell=bash
# Where things are, as in the Crunchy images; sourced by their other scripts and by pgset's.
PGROOT=$(echo /usr/lib/postgresql/*)
export PGROOT
export PGDATA=/pgdata/$HOSTNAME
export PATH=/opt/cpm/bin:$PGROOT/bin:$PATH
