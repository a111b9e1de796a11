# Of scripts/services: Redis alone, with Sentinel, and as a cluster. They share a range of ports and the script that controls them.

address=${SERVICES_ADDRESS:-127.0.0.1}

# Ports that nobody listens at. (Redis takes no port 0.)
find_ports() {  # COUNT: sets `port` to the first of so many
  local tries count=$1 one
  for tries in {1..50}; do
    port=$((20000 + RANDOM % 400 * 30))
    for ((one = port; one < port + count; one++)); do
      if (: < "/dev/tcp/127.0.0.1/$one") 2> /dev/null; then continue 2; fi
    done
    return
  done
  fail "no free ports were found"
}

prepare_redis() {
  [ -z "${REDIS_CONTROL:-}" ] || return 0
  command -v redis-server > /dev/null || fail "Redis is missing: apt-get install --no-install-recommends redis-server"
  mkdir "$folder/redis"
  find_ports 24
  REDIS_CONTROL=$folder/redis-control
  sed "s|FOLDER|$folder/redis|" "$build/redis_control" > "$REDIS_CONTROL"
  chmod +x "$REDIS_CONTROL"
}
prepare_redis_sentinel() { prepare_redis; }
prepare_redis_cluster() { prepare_redis; }
stop_redis() { end_processes "$folder"/redis/*/pid; }
stop_redis_sentinel() { stop_redis; }
stop_redis_cluster() { stop_redis; }

# What all servers have: no disk, one password, a name below $folder/redis.
redis_server() {  # NAME PORT, and lines of configuration on the standard input
  local home=$folder/redis/$1
  mkdir "$home"
  echo "$2" > "$home/port"
  cat > "$home/conf" << END
bind 127.0.0.1$([ "$address" = 127.0.0.1 ] || echo " $address")
port $2
dir $home
logfile $home/log
pidfile $home/pid
daemonize yes
END
  cat >> "$home/conf"
  "$REDIS_CONTROL" start "$1" || fail "Redis did not start: $(tail -3 "$home/log")"
}
redis_url() {  # NAME URL: for REDIS_URL, and for `$REDIS_CONTROL url NAME`
  echo "$2" > "$folder/redis/$1.url"
  tell REDIS_CONTROL="$REDIS_CONTROL" REDIS_URL="$2"
}
make_certificates() {
  local home=$folder/redis
  {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$home/ca.key" -out "$home/ca.crt" -subj "/CN=an authority" -days 2
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$home/tls.key" -out "$home/tls.csr" -subj "/CN=localhost"
    openssl x509 -req -in "$home/tls.csr" -CA "$home/ca.crt" -CAkey "$home/ca.key" -CAcreateserial -out "$home/tls.crt" -days 2 \
      -extfile <(echo "subjectAltName=DNS:localhost")
  } > "$log" 2>&1 || fail "no certificates: $(tail -3 "$log")"
}

start_redis() {
  make_certificates
  redis_server single "$port" << END
save ""
tls-port $((port + 1))
tls-cert-file $folder/redis/tls.crt
tls-key-file $folder/redis/tls.key
tls-ca-cert-file $folder/redis/ca.crt
tls-auth-clients no
enable-debug-command local
user default on >secret ~* &* +@all
user ringline on >of:ringline ~* &* +@all
user limited on >of:limited ~* &* +@all -config
END
  redis_url tls "rediss://ringline:of%3Aringline@localhost:$((port + 1))"
  redis_url limited "redis://limited:of%3Alimited@$address:$port"
  redis_url single "redis://ringline:of%3Aringline@$address:$port"
}

start_redis_sentinel() {
  local i first=$((port + 2)) list=
  for i in 1 2; do
    redis_server main-$i $((port + 1 + i)) << END
save ""
requirepass secret
masterauth secret
repl-diskless-sync-delay 0
replica-announce-ip $address
$([ $i -eq 1 ] || echo "replicaof $address $first")
END
  done
  for i in 1 2 3; do
    redis_server sentinel-$i $((port + 3 + i)) << END
requirepass secret
sentinel sentinel-pass secret
sentinel announce-ip $address
sentinel monitor main $address $first 2
sentinel auth-pass main secret
sentinel down-after-milliseconds main 500
sentinel failover-timeout main 3000
END
    # They find each other, and notice what happens, in less time than they would by themselves. (In trouble a replica is asked for its state once a
    # second, and to be chosen it must have said it within 3 of the periods for INFO, or 5 of those for PING.)
    "$REDIS_CONTROL" cli sentinel-$i SENTINEL DEBUG PUBLISH-PERIOD 100 INFO-PERIOD 500 PING-PERIOD 300 ASK-PERIOD 100 TILT-TRIGGER 30000 > "$log"
    list+="${list:+,}$address:$((port + 3 + i))"
  done
  redis_url sentinel "redis+sentinel://:secret@$list/main?sentinel_password=secret"
  wait_sentinel
}
wait_sentinel() {
  local i tries
  for i in 1 2 3; do
    for tries in {1..200}; do
      "$REDIS_CONTROL" cli sentinel-$i SENTINEL CKQUORUM main 2> /dev/null | grep '^OK 3 ' > /dev/null &&
        "$REDIS_CONTROL" cli sentinel-$i SENTINEL REPLICAS main | grep -x ok > /dev/null && continue 2
      sleep 0.05
    done
    fail "the sentinels do not find each other"
  done
  # A replica that says it is the master for four periods, while they have not heard so, is made a replica again; whoever promoted it asks it once a second.
  for i in 1 2 3; do "$REDIS_CONTROL" cli sentinel-$i SENTINEL DEBUG PUBLISH-PERIOD 500 > "$log"; done
}

start_redis_cluster() {
  local i list=
  for i in 1 2 3 4; do
    redis_server cluster-$i $((port + 6 + i)) << END
save ""
requirepass secret
masterauth secret
cluster-enabled yes
cluster-announce-ip $address
cluster-port $((port + 10 + i))
cluster-config-file nodes.conf
cluster-node-timeout 1000
cluster-require-full-coverage no
cluster-allow-replica-migration no
repl-diskless-sync-delay 0
END
    [ $i -eq 4 ] || "$REDIS_CONTROL" cli cluster-$i CLUSTER ADDSLOTSRANGE $(((i - 1) * 5461)) $((i == 3 ? 16383 : i * 5461 - 1)) > "$log"
    "$REDIS_CONTROL" cli cluster-$i CLUSTER SET-CONFIG-EPOCH $i > "$log"
    [ $i -eq 1 ] || "$REDIS_CONTROL" cli cluster-$i CLUSTER MEET $address $((port + 7)) $((port + 11)) > "$log"
    [ $i -eq 4 ] || list+="${list:+,}$address:$((port + 6 + i))"
  done
  redis_url cluster "redis://:secret@$list"
  wait_cluster
}
wait_cluster() {
  local i tries state
  for i in 1 2 3 4; do
    for tries in {1..200}; do
      state=$("$REDIS_CONTROL" cli cluster-$i CLUSTER INFO)
      [[ $state == *cluster_state:ok* && $state == *cluster_slots_assigned:16384* && $state == *cluster_known_nodes:4* ]] && continue 2
      sleep 0.05
    done
    fail "the cluster does not come together"
  done
  "$REDIS_CONTROL" cli cluster-4 CLUSTER REPLICATE "$("$REDIS_CONTROL" cli cluster-1 CLUSTER MYID)" > "$log"
  for tries in {1..200}; do
    "$REDIS_CONTROL" cli cluster-4 INFO replication | grep '^master_link_status:up' > /dev/null && return
    sleep 0.05
  done
  fail "the cluster's replica does not follow"
}
