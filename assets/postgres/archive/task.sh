# The settings of scheduler.sh in the workload `archive`.
schedule=$ARCHIVE_SCHEDULE
start_deadline_s=3600
timeout_s=${ARCHIVE_TIMEOUT_S:-21600}
stop_grace_s=${ARCHIVE_STOP_GRACE_S:-10}
state_dir=${ARCHIVE_DIR:-/var/lib/postgresql/archive}/schedule
with_task() { "$@" sh "$(dirname "$0")/base.sh"; }
