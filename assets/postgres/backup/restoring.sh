# Restores the databases of a backup beside the existing ones, as restoring_<database>. Sourced after common.sh by restore.sh
# and restore_tenant.sh.

# Set `name`, and `databases` to the chosen ones, whose files are sound. `from`: the backup, or empty for the newest.
# `wanted`: a database, or * for all.
choose_backup() {
    step="backup"
    name=${from:-$(newest_backup)}
    [ -n "$name" ] || fail "there is no backup in $directory"
    is_backup_name "$name" && [ -d "$directory/$name" ] || fail "there is no backup \"$name\""
    check_manifest "$name"
    [ -z "$damage" ] || fail "the backup $name can't be used: $damage"
    databases=""
    files=""
    for database in $(backed_up_databases "$name"); do
        if [ "$wanted" = "*" ] || [ "$wanted" = "$database" ]; then
            databases="$databases $database"
            files="$files $database.dump"
        fi
    done
    databases=${databases# }
    [ -n "$databases" ] || fail "the backup $name has no database \"$wanted\""
    check_files "$name" $files
    [ -z "$damage" ] || fail "the backup $name can't be used: $damage"
}

connect() {
    step="connect to ${PGHOST:-the local socket} as ${ADMIN_USER:-postgres}"
    log_in_as "${ADMIN_USER:-postgres}" "${ADMIN_PASSWORD_FILE:-/run/secrets/admin/password}"
    run_psql --command "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
    [ "$(cat "$scratch/out")" = t ] || fail "$PGUSER is not a superuser"
}

database_exists() {
    run_psql --set database="$1" <<'SQL'
SELECT 1 FROM pg_database WHERE datname = :'database';
SQL
    [ -s "$scratch/out" ]
}

drop_database() {
    run_psql --set database="$1" <<'SQL'
DROP DATABASE IF EXISTS :"database" WITH (FORCE);
SQL
}

# Count the rows into $scratch/counted. count_rows DATABASE
count_rows() {
    run_psql --dbname "$1" --file "$here/rows.sql"
    mv "$scratch/out" "$scratch/counted"
}

# Print the tables whose number of rows differs. compare_rows WORDS, which describe the counted rows
compare_rows() {
    awk -v counted="$1" '
        {
            match($0, /: [0-9]+$/)
            table = substr($0, 1, RSTART - 1)
            rows = substr($0, RSTART + 2)
            tables[table]
            if (FILENAME == ARGV[1]) in_backup[table] = rows; else found[table] = rows
        }
        END {
            for (table in tables) {
                then = table in in_backup ? in_backup[table] " rows" : "no such table"
                now = table in found ? found[table] " rows" : "no such table"
                if (then != now) printf "  %s: %s in the backup, %s %s\n", table, then, now, counted
            }
        }' "$scratch/backed-up" "$scratch/counted" | sort
}

# Replace the database's name in the statements about it, because pg_restore only knows the archive's. A line within a
# string, such as a comment's, stays; a quote in a string is doubled. A server older than 17 has no transaction_timeout.
# rename_in_statements OLD NEW
rename_in_statements() {
    awk -v old="DATABASE \"?$1\"? " -v new="DATABASE $2 " '
        quotes % 2 == 0 {
            if (/^--/ || /^\\connect / || /^SET transaction_timeout /) next
            sub(old, new)
        }
        {
            print
            quotes += gsub(/\047/, "")
        }'
}

# pg_restore 17 and newer sets transaction_timeout. A server older than 17 doesn't know it: this error is ignored, if it
# is the only one. restore_archive ARCHIVE DATABASE
restore_archive() {
    run_psql --command "SELECT '--exit-on-error' WHERE current_setting('server_version_num')::int >= 170000"
    exit_on_error=$(cat "$scratch/out")
    pg_restore $exit_on_error --no-password --dbname="$2" "$1" 2>"$scratch/err" && return 0
    [ -z "$exit_on_error" ] && grep -qx 'Command was: SET transaction_timeout = 0;' "$scratch/err" &&
        [ "$(tail -n 1 "$scratch/err")" = "pg_restore: warning: errors ignored on restore: 1" ]
}

# Ids of the databases that restore_beside has created.
restored_ids=""

# restore_beside DATABASE
restore_beside() {
    step="restore of $1"
    new=restoring_$1
    archive=$directory/$name/$1.dump
    drop_database "$new"
    pg_restore --list --create "$archive" >"$scratch/contents" 2>"$scratch/err" || fail "$(cat "$scratch/err")"
    grep -E '^[0-9]+; [0-9]+ [0-9]+ (DATABASE|DATABASE PROPERTIES|(ACL|COMMENT|SECURITY LABEL) - DATABASE) ' \
        "$scratch/contents" >"$scratch/about" || fail "the archive doesn't describe its database"
    pg_restore --create --use-list="$scratch/about" --file="$scratch/about.sql" "$archive" 2>"$scratch/err" ||
        fail "$(cat "$scratch/err")"
    rename_in_statements "$1" "$new" <"$scratch/about.sql" >"$scratch/renamed.sql"
    run_psql --file "$scratch/renamed.sql"
    run_psql --set database="$new" <<'SQL'
SELECT oid FROM pg_database WHERE datname = :'database';
SQL
    restored_ids="$restored_ids $(cat "$scratch/out")"
    restore_archive "$archive" "$new" ||
        fail "$(cat "$scratch/err")
Nothing has been replaced. If a role is missing: run the provisioning task, or see globals.sql in the backup."
    count_rows "$new"
    backed_up_rows "$name" "$1" >"$scratch/backed-up"
    compare_rows "after the restore" >"$scratch/different"
    [ ! -s "$scratch/different" ] || fail "$(cat "$scratch/different")
Nothing has been replaced; $new stays until the next restore, or --drop-replaced."
    run_psql --dbname "$new" --command ANALYZE
    printf 'database %s: restored as %s, every table has the rows of the manifest\n' "$1" "$new"
}
