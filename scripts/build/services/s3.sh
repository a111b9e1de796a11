# Of scripts/services: two S3 servers.

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# until_answers WHAT PORT LOG: waits half a minute for an HTTP server.
until_answers() {
  local tries
  for tries in $(seq 300); do
    if curl -s -o /dev/null --max-time 5 "http://127.0.0.1:$2/"; then return 0; fi
    sleep 0.1
  done
  fail "$1 did not start: $(tail -5 "$3")"
}

tell_s3() {  # PORT ACCESS_KEY SECRET_KEY
  tell S3_ENDPOINT="http://127.0.0.1:$1" S3_ACCESS_KEY="$2" S3_SECRET_KEY="$3" S3_REGION=us-east-1 USE_MINIO=on
}

again() {  # COMMAND...: until it goes well, at most ten times
  local tries
  for tries in $(seq 10); do if "$@"; then return 0; fi; done
  return 1
}

prepare_ceph() {
  command -v radosgw ceph-mon ceph-osd ceph > /dev/null || fail "Ceph is missing: apt-get install --no-install-recommends radosgw ceph-mon ceph-osd ceph-common"
}

# A monitor, one OSD in memory and the gateway, without a manager and without authentication between them. Now and then a program asks the monitor for
# something before it knows the cluster's id, and is refused: `ceph` is run again then, and the OSD, which would end, is made to ask for nothing.
start_ceph() {
  local dir=$folder/ceph mon_port port fsid osd
  mkdir -p "$dir/osd" "$dir/run"
  mon_port=$(free_port) port=$(free_port)
  fsid=$(cat /proc/sys/kernel/random/uuid) osd=$(cat /proc/sys/kernel/random/uuid)
  cat > "$dir/ceph.conf" << END
[global]
fsid = $fsid
mon host = v1:127.0.0.1:$mon_port
mon initial members = a
auth cluster required = none
auth service required = none
auth client required = none
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
ms bind msgr2 = false
run dir = $dir/run
admin socket = $dir/run/\$name.asok
pid file = $dir/run/\$name.pid
log file = $dir/\$name.log
mon cluster log file = $dir/cluster.log
mon data = $dir/mon
mon allow pool size one = true
mon data avail crit = 1
mon data avail warn = 2
osd data = $dir/osd
osd objectstore = memstore
osd class update on start = false
osd crush update on start = false
memstore device bytes = 4294967296
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd op threads = 1
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:$port
rgw data = $dir/run
rgw thread pool size = 64
rgw run sync thread = false
rgw enable usage log = false
rgw enable gc threads = false
rgw enable lc threads = false
END
  make_ceph > "$log" 2>&1 || fail "Ceph did not start: $(tail -5 "$log")"
  radosgw -c "$dir/ceph.conf" -n client.rgw -f > "$dir/gateway.log" 2>&1 &
  echo $! > "$dir/run/gateway.pid"
  until_answers radosgw "$port" "$dir/gateway.log"
  tell_s3 "$port" ringline ringline-secret
}
make_ceph() {  # with what start_ceph knows
  monmaptool --create --fsid "$fsid" --addv a "[v1:127.0.0.1:$mon_port]" "$dir/monmap" &&
    ceph-mon -c "$dir/ceph.conf" --mkfs -i a --monmap "$dir/monmap" &&
    ceph-mon -c "$dir/ceph.conf" -i a &&
    again ceph -c "$dir/ceph.conf" --connect-timeout 30 osd new "$osd" &&
    again ceph -c "$dir/ceph.conf" --connect-timeout 30 osd crush add osd.0 1 root=default host=here &&
    ceph-osd -c "$dir/ceph.conf" -i 0 --mkfs --osd-uuid "$osd" &&
    ceph-osd -c "$dir/ceph.conf" -i 0 &&
    timeout 60 radosgw-admin -c "$dir/ceph.conf" -n client.rgw user create --uid=ringline --display-name=ringline --access-key=ringline --secret-key=ringline-secret
}
stop_ceph() { end_processes "$folder"/ceph/run/*.pid; }

prepare_swift() {
  /usr/bin/python3 -c 'import swift' 2> /dev/null || fail "Swift is missing: apt-get install --no-install-recommends swift-proxy swift-account swift-container swift-object"
}

# All of its servers in one process: see scripts/build/swift. Debian's package is for Debian's Python, whatever stands first in PATH.
start_swift() {
  local port
  port=$(free_port)
  /usr/bin/python3 "$build/swift" "$folder/swift" "$port" > "$log" 2>&1 &
  echo $! > "$folder/swift.pid"
  until_answers Swift "$port" "$log"
  tell_s3 "$port" test:tester testing
}
stop_swift() { end_processes "$folder/swift.pid"; }
