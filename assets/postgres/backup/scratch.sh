# A temporary PostgreSQL server that only this run can reach: over a Unix socket in a private directory. Sourced after
# common.sh.
#
#   require_space DIRECTORY MIB          fail if less is free
#   create_scratch_server DATA           create an empty cluster and start its server
#   start_scratch_server DATA [OPTION …] start a server on an existing data directory, with these options of postgres, and
#                                        return when it accepts connections; a recovery may take hours
#   on_scratch_server COMMAND …          run a command that connects to the server as its superuser `postgres`
#   stop_scratch_server                  stop it at once; the data directory stays
#
# Environment: POSTGRES_INITDB_ARGS, options of initdb with the shell's quoting, as in start.sh.
#
# The data directory must be a copy that can be thrown away: the server doesn't sync its files. It ignores the
# directory's settings of addresses, authentication and WAL archive. It stops at the end of the run, also if the shell is
# killed, because it would keep the run's lock.
#
# The run's end also removes the directory that `scratch_remains` names.
#
# The options come after those of the directory's own configuration, and the sizes of the control file are used, because
# a recovery needs no fewer locks and prepared transactions than the original server.
scratch_server=""
scratch_log=$scratch/server.log
scratch_socket=""
scratch_remains=""
trap 'stop_scratch_server; rm -rf "$scratch" ${scratch_remains:+"$scratch_remains"}' EXIT

# require_space DIRECTORY MIB
require_space() {
    free_mib=$(($(df -Pk "$1" | awk 'NR == 2 { printf "%d", $4 }') / 1024))
    [ "$free_mib" -ge "$2" ] || fail "$free_mib MiB are free in $1, and $2 MiB are needed"
}

# create_scratch_server DATA
create_scratch_server() {
    # An empty cluster with its WAL.
    require_space "$(dirname "$1")" 128
    eval "initdb -D \"\$1\" -U postgres ${POSTGRES_INITDB_ARGS:-} --auth-local=trust --no-sync" >"$scratch_log" 2>&1 ||
        fail "$(tail -n 40 "$scratch_log")"
    start_scratch_server "$1"
}

# start_scratch_server DATA [OPTION …]
start_scratch_server() {
    [ -z "$scratch_server" ] || fail "a temporary server is running already"
    scratch_data=$1
    shift
    scratch_socket=$scratch/socket
    mkdir -p "$scratch_socket"
    printf 'local all all trust\n' >"$scratch_socket/hba"
    : >"$scratch_socket/ident"
    # PostgreSQL refuses a directory that others can access; a kubelet that sets the volume's group makes it so.
    chmod 700 "$scratch_data"
    # The remains of the server that the directory was copied from, or of a killed one.
    rm -f "$scratch_data/postmaster.pid"
    # shellcheck disable=SC2046 # words
    $(stop_with_parent) postgres -D "$scratch_data" \
        -c listen_addresses= -c unix_socket_directories="$scratch_socket" -c unix_socket_permissions=0700 -c port=5432 \
        -c hba_file="$scratch_socket/hba" -c ident_file="$scratch_socket/ident" -c external_pid_file= -c ssl=off \
        -c logging_collector=off -c log_destination=stderr -c log_statement=none -c log_min_error_statement=panic \
        -c log_min_duration_statement=-1 -c log_connections=off -c log_disconnections=off \
        -c archive_mode=off -c archive_command= -c archive_cleanup_command= -c recovery_end_command= \
        -c primary_conninfo= -c primary_slot_name= -c hot_standby=off -c synchronous_standby_names= \
        -c fsync=off -c full_page_writes=off -c autovacuum=off \
        -c shared_buffers=32MB -c maintenance_work_mem=64MB -c huge_pages=off -c jit=off \
        -c max_parallel_workers_per_gather=0 -c max_parallel_maintenance_workers=0 -c max_wal_size=1GB \
        $(sizes_of_control_file) "$@" >"$scratch_log" 2>&1 &
    scratch_server=$!
    until on_scratch_server pg_isready --quiet; do
        kill -0 "$scratch_server" 2>/dev/null || {
            scratch_server=""
            fail "the temporary server stopped. The end of its log:
$(tail -n 40 "$scratch_log")"
        }
        sleep 0.2
    done
}

# The postmaster gets SIGQUIT if the shell is killed: an immediate shutdown.
stop_with_parent() {
    if setpriv --pdeathsig QUIT true 2>/dev/null; then printf 'setpriv --pdeathsig QUIT'; fi
}

sizes_of_control_file() {
    LC_ALL=C pg_controldata -D "$scratch_data" | sed -n \
        -e 's/^max_connections setting: *\([0-9]*\)$/-c max_connections=\1/p' \
        -e 's/^max_prepared_xacts setting: *\([0-9]*\)$/-c max_prepared_transactions=\1/p' \
        -e 's/^max_locks_per_xact setting: *\([0-9]*\)$/-c max_locks_per_transaction=\1/p'
}

# The connection variables of the run are those of the platform's server.
on_scratch_server() {
    env -u PGHOSTADDR -u PGPASSWORD -u PGPASSFILE -u PGSSLROOTCERT -u PGSERVICE PGHOST="$scratch_socket" PGPORT=5432 \
        PGUSER=postgres PGSSLMODE=disable "$@"
}

stop_scratch_server() {
    if [ -n "$scratch_server" ]; then
        kill -QUIT "$scratch_server" 2>/dev/null || :
        wait "$scratch_server" 2>/dev/null || :
        scratch_server=""
    fi
}
