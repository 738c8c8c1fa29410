#!/bin/sh
# Runs a store's command with its data in a folder below the volume's mount point.
#
#   sh below.sh MOUNT FOLDER COMMAND [ARGUMENT …]
#
# The root of a new ext4 file system has a folder `lost+found`, which belongs to root and isn't data. Data that earlier
# versions of this program stored in the root of the volume is moved into MOUNT/FOLDER. Each move is one rename within a
# file system, so an interrupted start is continued at the next start. Nothing is ever overwritten.
set -eu

mount=$1
folder=$2
shift 2

mkdir -p "$mount/$folder"
for path in "$mount"/* "$mount"/.[!.]*; do
    name=${path##*/}
    case $name in "$folder" | lost+found | .pti-calendar-data*) continue ;; esac
    if [ ! -e "$path" ] && [ ! -L "$path" ]; then
        continue # The pattern matched nothing.
    fi
    if [ -e "$mount/$folder/$name" ] || [ -L "$mount/$folder/$name" ]; then
        echo "$path and $mount/$folder/$name both exist, but only one of them can be this store's data." >&2
        echo "Remove the other one, or move it off the volume; the store then restarts by itself." >&2
        exit 1
    fi
    mv "$path" "$mount/$folder/$name"
    echo "moved $path to $mount/$folder/$name"
done

exec "$@"
