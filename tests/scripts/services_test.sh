#!/bin/sh
# services_test.sh SCRIPT: what is asked for runs while the command does, whose status is told; a TERM ends the command, and nothing is left of either.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TMPDIR="$work"

status=0
"$1" run redis -- sh -c '"$REDIS_CONTROL" cli single PING && exit 7' > "$work/said" || status=$?
[ "$status" = 7 ] && grep -qx PONG "$work/said" || { echo "no Redis, or another status: $status"; exit 1; }

"$1" run redis -- sh -c 'echo $$ > "$0" && cp "$("$REDIS_CONTROL" folder)/single/pid" "$0.redis" && exec sleep 20' "$work/command" &
services=$!
until [ -s "$work/command.redis" ]; do
  kill -0 "$services" || { echo "it ended by itself"; exit 1; }
  sleep 0.05
done
kill "$services"
status=0
wait "$services" || status=$?
[ "$status" = 143 ] || { echo "the command did not end by the TERM: $status"; exit 1; }
for one in command command.redis; do
  if grep -qs '^State:[[:space:]]*[DRSTt]' "/proc/$(cat "$work/$one")/status"; then echo "$one still runs"; exit 1; fi
done
[ -z "$(find "$work" -name 'ringline-services-*')" ] || { echo "its folder is still there"; exit 1; }

status=0
"$1" run redis nonsense -- true 2> "$work/said" || status=$?
[ "$status" = 2 ] && grep -q 'no service nonsense' "$work/said" || { echo "a service that is not there: $status"; exit 1; }
