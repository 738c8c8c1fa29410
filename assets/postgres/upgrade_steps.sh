# shellcheck shell=sh disable=SC2154
# The steps of an upgrade to another major version that start.sh performs. upgrade.sh describes the whole. Sourced.
#
# An image contains the programs of one version only. So the old server writes a dump onto its volume, and the new one
# reads it into a data directory of its own, beside the old one. Neither opens its TCP port meanwhile: no row is written
# after the dump, and no client sees an incomplete server. Each step ends with a rename, so a killed one is repeated.
#
# <volume>/upgrade/
#   request      the new major version, while an upgrade is in progress
#   progress     what ready.sh reports
#   failure      why the last dump failed
#   dump/        complete: all_roles, databases (lines "oid name"), <oid>.dump, and facts that must be the same afterwards

upgrade=$volume/upgrade
previous=${POSTGRES_PREVIOUS_MAJOR:-}
# Not on the volume, which may be full.
failure=$PGHOST/upgrade-failure

requested_major() { cat "$upgrade/request" 2>/dev/null || :; }

report() {
    printf '%s\n' "$1"
    # A full disk must not end the step here, but where the reason is known.
    printf '%s\n' "$1" >"$upgrade/progress" || :
}

end_upgrade() {
    # The request first: the remains of an interrupted deletion don't count without it.
    rm -f "$upgrade/request"
    rm -rf "$upgrade" "$volume"/*/docker.new
    # What remains of a version that was never complete.
    rmdir "$volume"/[0-9]* 2>/dev/null || :
}

# The data directory belongs to this version. Nothing is in progress if the upgrade to it is complete, or if the image
# was set back.
end_undone_upgrade() {
    case $(requested_major) in
        '') rm -rf "$upgrade/dump" "$upgrade/dump.new" ;;
        "$major" | "$previous") end_upgrade ;;
    esac
}

upgrade_is_requested() { [ -n "$(requested_major)" ]; }

query() { psql --no-psqlrc --quiet --no-align --tuples-only --username postgres --set ON_ERROR_STOP=1 "$@"; }

# Write facts about a database into a file. facts SQL DATABASE FILE
facts() {
    PGDATABASE=$2 query --file "$here/$1" >"$3" && sort -o "$3" "$3"
}

# A failure must not keep the platform down: the server then serves again.
prepare_upgrade() {
    if ! [ -d "$upgrade/dump" ]; then
        report "recovering: upgrade to PostgreSQL $(requested_major), dump begins"
        start_closed "$@"
        dump_all &
        dumped=0
        wait $! || dumped=$?
        stop_closed || :
        if [ $dumped -ne 0 ]; then
            rm -rf "$upgrade/request" "$upgrade/progress" "$upgrade/dump.new"
            [ -s "$failure" ] || echo "the dump failed; see the log" >"$failure"
            printf '%s\n' "the upgrade is cancelled: $(cat "$failure")" >&2
            cp "$failure" "$upgrade/failure" || :
            return 0
        fi
    fi
    report "the data is dumped; waiting for an image of PostgreSQL $(requested_major)"
    trap 'exit 143' TERM INT
    while upgrade_is_requested; do
        sleep 1 &
        wait $!
    done
    trap - TERM INT
    rm -rf "$upgrade"
}

# Runs as a background job, which a signal to the server ends.
dump_all() (
    new=$upgrade/dump.new
    rm -rf "$new" "$upgrade/failure"
    : >"$failure"
    mkdir "$new"
    checked() { "$@" 2>"$failure" || { cat "$failure" >&2 && exit 1; }; }
    checked pg_dumpall --username postgres --roles-only --file="$new/all_roles"
    # pg_dumpall doesn't notice that its file couldn't be written.
    checked grep -q '^-- PostgreSQL database cluster dump complete$' "$new/all_roles"
    checked query --dbname template1 --output "$new/databases" \
        --command "SELECT oid, datname FROM pg_database WHERE datname <> 'template0' ORDER BY 1" --field-separator ' '
    checked facts upgrade_roles.sql template1 "$new/roles.facts"
    count=$(wc -l <"$new/databases")
    number=0
    while read -r oid name; do
        number=$((number + 1))
        report "recovering: upgrade to PostgreSQL $(requested_major), dump of $name ($number of $count)"
        checked facts upgrade_facts.sql "$name" "$new/$oid.facts"
        PGDATABASE=$name
        export PGDATABASE
        checked pg_dump --username postgres --format=custom --compress=1 --file="$new/$oid.dump"
    done <"$new/databases"
    kib=$(query --dbname template1 --command "SELECT sum(pg_database_size(oid))::bigint / 1024 + 204800 FROM pg_database")
    free=$(df -Pk "$volume" | awk 'NR == 2 { printf "%d", $4 }')
    if [ "$free" -lt "$kib" ]; then
        echo "$free KiB are free beside the dump, and the new data may need $kib KiB: enlarge the volume" >"$failure"
        exit 1
    fi
    checked sync "$new"/* "$new"
    mv "$new" "$upgrade/dump"
    checked sync "$upgrade"
)

# The volume's current data belongs to another version. Return if this version may serve: PGDATA then contains the data
# of the dump, or, on the way back, the data of before the upgrade.
change_version() {
    [ "$marked" = "$previous" ] || refuse_version "$marked"
    if ! [ -s "$PGDATA/PG_VERSION" ]; then
        if ! [ -d "$upgrade/dump" ] || [ "$(requested_major)" != "$major" ]; then
            refuse "this volume contains data of PostgreSQL $marked, and no dump of it for PostgreSQL $major. Nothing was changed." \
                "Set the previous image (pti-calendar:postgres.image), then upgrade: docs/store-upgrades.md"
        fi
        restore_all "$@"
    elif [ "$major" -gt "$marked" ] && [ "$(requested_major)" != "$major" ]; then
        refuse "$PGDATA is from an upgrade that was undone; PostgreSQL $marked has newer data. Nothing was changed." \
            "Set the previous image (pti-calendar:postgres.image), then upgrade again: docs/store-upgrades.md"
    fi
    mark
    end_upgrade
}

# Without flushes, because an incomplete directory is never used; all of it is flushed before it gets its name.
restore_all() {
    report "recovering: upgrade to PostgreSQL $major, new data directory"
    create_cluster
    start_closed "$@" -D "$new" -c fsync=off -c full_page_writes=off -c wal_level=minimal -c max_wal_senders=0 \
        -c max_wal_size=128MB -c autovacuum=off -c archive_mode=off
    restore_databases &
    restored=0
    wait $! || restored=$?
    stop_closed || restored=1
    if [ $restored -ne 0 ]; then
        report "the data of PostgreSQL $marked can't be restored; the log has the reason. Nothing of it was changed."
        refuse "To return to PostgreSQL $marked: docs/store-upgrades.md#the-way-back"
    fi
    initdb --sync-only --pgdata "$new" >/dev/null
    publish_cluster
}

# compare SQL DATABASE FILE
compare() {
    facts "$1" "$2" "$dump/found"
    diff "$3" "$dump/found" || {
        echo "database $2: this differs from the dump" >&2
        exit 1
    }
}

restore_databases() (
    dump=$upgrade/dump
    # The superuser exists already.
    sed '/^CREATE ROLE postgres;$/d' "$dump/all_roles" | query --dbname template1 >/dev/null
    count=$(wc -l <"$dump/databases")
    number=0
    while read -r oid name; do
        number=$((number + 1))
        report "recovering: upgrade to PostgreSQL $major, restore of $name ($number of $count)"
        # Two databases exist already; a database can't be replaced in a session of its own.
        replaced=""
        through=template1
        case $name in
            postgres) replaced="--clean --if-exists" ;;
            template1) replaced="--clean --if-exists" through=postgres ;;
        esac
        # shellcheck disable=SC2086
        pg_restore --username postgres --exit-on-error --create $replaced --dbname=$through "$dump/$oid.dump"
        PGDATABASE=$name query --command ANALYZE
        compare upgrade_facts.sql "$name" "$dump/$oid.facts"
    done <"$dump/databases"
    compare upgrade_roles.sql template1 "$dump/roles.facts"
)
