# Shared by the scripts of the workload `archive`: its directory, and what can be recovered from it. Sourced after
# common.sh.
#
# Environment
#   ARCHIVE_DIR             default /var/lib/postgresql/archive: on a volume
#   ARCHIVE_PASSWORD_FILE   default /run/secrets/archive/password: the password of the role pti_archive
#   ARCHIVE_STATUS_FILE     default /tmp/archive.status: what the receiver does
#   PGHOST, PGPORT          the server; every other libpq variable is passed on unchanged
#
# A chain is a sequence of WAL without a hole. It is a directory whose name is the time of its start in UTC:
#   system         the server's system identifier
#   broken         why a new chain was begun after this one, if there is a newer one
#   wal/           segments as pg_receivewal writes them; the newest one is `.partial`
#   base/<time>/   a base backup: data/, which pg_basebackup wrote, and info, lines `key=value`
# A base backup gets its name when it is complete and verified. Names that begin with `incomplete.` are remains.
#
# In info: `from` and `wal`, the time from which and the first segment with which the base can be recovered; `bytes`;
# `server`, the version; `segment_bytes`.
archive=${ARCHIVE_DIR:-/var/lib/postgresql/archive}
status_file=${ARCHIVE_STATUS_FILE:-/tmp/archive.status}
slot=pti_archive

log_in_as_archive() {
    log_in_as pti_archive "${ARCHIVE_PASSWORD_FILE:-/run/secrets/archive/password}"
    # The server forgets the heartbeat of a session that waits for a lock, such as of the provisioning task.
    export PGOPTIONS="$PGOPTIONS -c lock_timeout=10s -c statement_timeout=60s"
}

# Names of the chains, the oldest first.
chain_names() {
    for path in "$archive"/*Z; do
        if [ -d "$path" ] && is_backup_name "${path##*/}"; then printf '%s\n' "${path##*/}"; fi
    done
}

newest_chain() {
    chain_names | tail -n 1
}

# Names of a chain's base backups, the oldest first. base_names CHAIN
base_names() {
    for path in "$archive/$1"/base/*Z; do
        if [ -d "$path" ] && is_backup_name "${path##*/}"; then printf '%s\n' "${path##*/}"; fi
    done
}

# Lines `base chain` of all base backups, the oldest first.
all_bases() {
    for chain in $(chain_names); do
        for base in $(base_names "$chain"); do printf '%s %s\n' "$base" "$chain"; done
    done | sort
}

# base_value CHAIN BASE KEY
base_value() {
    sed -n "s/^$3=//p" "$archive/$1/base/$2/info"
}

# Check the WAL of a chain from a segment on. Set `holes` to the missing files, and `last_file` to the last one before
# the first hole; empty if even the first is missing. A segment of another size is missing. check_wal CHAIN FIRST BYTES
check_wal() {
    for path in "$archive/$1"/wal/*; do
        case ${path##*/} in
            ????????.history) printf '%s\n' "${path##*/}" ;;
            # The receiver may give a segment its final name meanwhile.
            ???????????????????????? | ????????????????????????.partial)
                printf '%s %s\n' "${path##*/}" "$({ wc -c <"$path"; } 2>/dev/null)"
                ;;
        esac
    done | sort | awk -v first="$2" -v bytes="$3" '
        function hex(digits, i, value) {
            for (i = 1; i <= length(digits); i++) value = value * 16 + index("123456789ABCDEF", substr(digits, i, 1))
            return value + 0
        }
        function number(file) { return hex(substr(file, 9, 8)) * (4294967296 / bytes) + hex(substr(file, 17, 8)) }
        function file(n) {
            return sprintf("%s%08X%08X", timeline, int(n / (4294967296 / bytes)), n % (4294967296 / bytes))
        }
        function missing(name) { holes = holes (holes == "" ? "" : " ") name }
        /history$/ { history[substr($1, 1, 8)]; next }
        $2 != bytes || substr($1, 9, 16) < substr(first, 9, 16) || substr($1, 1, 8) < substr(first, 1, 8) { next }
        {
            n = number($1)
            # The last file of a segment is that of the newest timeline.
            found[n] = $1
            timelines[substr($1, 1, 8)]
            if (n > newest) newest = n
        }
        END {
            timeline = substr(first, 1, 8)
            for (n = number(first); n <= newest; n++) {
                if (n in found) {
                    timeline = substr(found[n], 1, 8)
                    if (holes == "") last = found[n]
                } else missing(file(n))
            }
            if (!(number(first) in found) && holes == "") missing(first)
            for (timeline in timelines)
                if (timeline > substr(first, 1, 8) && !(timeline in history)) missing(timeline ".history")
            print last
            print holes
        }' >"$scratch/wal"
    last_file=$(sed -n 1p "$scratch/wal")
    holes=$(sed -n 2p "$scratch/wal")
}

# Set `until_time` to the time of the last end of a transaction from a segment on up to another one, or to nothing. A
# recovery can only stop at such a record. find_last_end CHAIN FIRST LAST
find_last_end() {
    until_time=""
    rm -rf "$scratch/segments"
    mkdir "$scratch/segments"
    for path in $(ls -r "$archive/$1/wal"); do
        file=${path%.partial}
        case $file in ????????????????????????) ;; *) continue ;; esac
        if expr "$file" \> "${3%.partial}" >/dev/null; then continue; fi
        if expr "$file" \< "$2" >/dev/null; then return 0; fi
        # pg_waldump knows no partial segments. It fails at their end.
        ln -sf "$archive/$1/wal/$path" "$scratch/segments/$file"
        until_time=$(TZ=UTC pg_waldump --rmgr=Transaction --path="$scratch/segments" "$file" "$file" 2>/dev/null |
            sed -n 's/.* desc: \(COMMIT\|ABORT\)\(_PREPARED [0-9]*:\)\{0,1\} \([0-9-]*\) \([0-9:.]*\) UTC.*/\3T\4Z/p' | tail -n 1)
        [ -z "$until_time" ] || return 0
    done
}

# Set `from_time`, `until_time` and `holes` of a base backup; `until_time` is empty if its WAL is missing, or has no
# end of a transaction after the base backup yet. find_range CHAIN BASE
find_range() {
    from_time=$(base_value "$1" "$2" from)
    first=$(base_value "$1" "$2" wal)
    check_wal "$1" "$first" "$(base_value "$1" "$2" segment_bytes)"
    until_time=""
    [ -z "$last_file" ] || find_last_end "$1" "$first" "$last_file"
    if [ -n "$until_time" ] && expr "$until_time" \< "$from_time" >/dev/null; then until_time=""; fi
}
