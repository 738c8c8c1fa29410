#!/bin/bash
# Starts Redis as the official image does: a .conf file or an option stands for `redis-server` with it.
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

# The official build is compiled with protected mode off; Debian's has it on. Only an explicit choice changes that.
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
