#!/bin/sh
# systemd_test.sh UNIT verify|security: systemd takes the unit without a word (it exits 0 on settings that it ignores, so any output counts), and rates
# its exposure below 3.0.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
unit=$folder/ringline.service
sed 's|^ExecStart=.*|ExecStart=/bin/true|' "$1" > "$unit"  # the binary is not installed here
case $2 in
verify)
  said=$(systemd-analyze verify "$unit" 2>&1) || { echo "$said"; exit 1; }
  [ -z "$said" ] || { echo "$said"; exit 1; }
  ;;
security)
  systemd-analyze security --offline=true --threshold=30 --no-pager "$unit" | tail -n 1
  systemd-analyze security --offline=true --threshold=30 --no-pager "$unit" > /dev/null
  ;;
esac
