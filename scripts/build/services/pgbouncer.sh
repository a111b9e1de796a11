# Of scripts/services: PgBouncer. It is PostgreSQL's user who runs it: see postgres.sh.

prepare_pgbouncer() {
  [ -n "${POSTGRES_CONTROL:-}" ] || fail "PgBouncer stands before a server: services run postgres pgbouncer"
  [ -x /usr/sbin/pgbouncer ] || fail "PgBouncer is missing: apt-get install --no-install-recommends pgbouncer"
}

start_pgbouncer() {
  local data=$folder/pgbouncer
  own_folder "$data"
  printf '"ringline" ""\n' > "$data/users"
  cat > "$data/ini" << END
[databases]
* = host=$folder/postgres
[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = $data
auth_type = trust
auth_file = $data/users
pool_mode = transaction
max_client_conn = 100
default_pool_size = 20
server_login_retry = 1
logfile = $data/log
pidfile = $data/pid
END
  as_user /usr/sbin/pgbouncer -q -d "$data/ini" || fail "PgBouncer did not start: $(tail -3 "$log")"
  tell PGBOUNCER_URL="postgresql:///postgres?host=$data&port=6432&user=ringline"
}
stop_pgbouncer() { end_processes "$folder/pgbouncer/pid"; }
