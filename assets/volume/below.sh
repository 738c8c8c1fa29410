#!/bin/sh
# Runs a store's command with its data in a folder below the volume's mount.
#
#   sh below.sh MOUNT FOLDER COMMAND [ARGUMENT …]
#
# A fresh ext4 file system has a `lost+found` in its root, which belongs to root and is no data. What earlier versions
# of this program kept in the root of the volume is moved into MOUNT/FOLDER. Each move is one rename within a file
# system, so whoever is killed in between goes on at the next start. Nothing is ever overwritten.
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
        echo "$path and $mount/$folder/$name are both there, and only one of them can be this store's data." >&2
        echo "Remove the one that isn't, or move it off the volume; then it starts again by itself." >&2
        exit 1
    fi
    mv "$path" "$mount/$folder/$name"
    echo "moved $path to $mount/$folder/$name"
done

exec "$@"
