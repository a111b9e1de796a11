#!/bin/sh
# systemd_test.sh FOLDER verify: systemd takes all units there without a word (it exits 0 on settings that it ignores, so any output counts).
# systemd_test.sh UNIT security: it rates the unit's exposure below 3.0.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
copy() {  # UNIT: the programs are not installed here
  sed 's|^ExecStart=.*|ExecStart=/bin/true|' "$1" > "$folder/$(basename "$1")"
}
case $2 in
verify)
  for unit in "$1"/*.service "$1"/*.timer; do copy "$unit"; done
  said=$(systemd-analyze verify "$folder"/* 2>&1) || { echo "$said"; exit 1; }
  [ -z "$said" ] || { echo "$said"; exit 1; }
  ;;
security)
  copy "$1"
  systemd-analyze security --offline=true --threshold=30 --no-pager "$folder"/* | tail -n 1
  systemd-analyze security --offline=true --threshold=30 --no-pager "$folder"/* > /dev/null
  ;;
esac
