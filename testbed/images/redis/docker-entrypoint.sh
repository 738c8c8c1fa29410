#!/bin/bash
# Starts Redis like the official image: a .conf file or an option as first argument means `redis-server`.
set -euo pipefail

[[ ${1-} == -* || ${1-} == *.conf ]] && set -- redis-server "$@"
if [[ ${1-} != redis-server ]]; then
  exec "$@"
fi
if ((EUID == 0)); then
  find /data ! -user redis -exec chown redis {} +
  exec gosu redis "$0" "$@"
fi
umask 0077

# The official build has protected mode off; Debian's has it on. Only an explicit setting changes that.
shift
file=()
if [[ ${1-} == *.conf ]]; then
  file=("$1")
  shift
fi
if [[ " $* " == *" --protected-mode "* ]] || { ((${#file[@]})) && grep -Eqi '^\s*protected-mode\s' "${file[0]}"; }; then
  exec redis-server "${file[@]}" "$@"
fi
exec redis-server "${file[@]}" --protected-mode no "$@"
