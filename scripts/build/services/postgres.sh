# Of scripts/services: PostgreSQL, and a standby.

prepare_postgres() {
  postgres_programs=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2> /dev/null | sort -V | tail -1)
  [ -n "$postgres_programs" ] || fail "PostgreSQL is missing: apt-get install --no-install-recommends postgresql"
  POSTGRES_CONTROL=$folder/postgres-control
}
prepare_standby() { [ -n "${POSTGRES_CONTROL:-}" ] || fail "a standby follows a server: services run postgres standby"; }

# A folder of PostgreSQL's user, who may not be root.
user=()
own_folder() {
  mkdir "$1"
  [ "$(id -u)" -eq 0 ] || return 0
  chown postgres: "$1"
  user=(runuser -u postgres --)
}
as_user() { (cd / && "${user[@]}" "$@") > "$log" 2>&1; }

start_postgres() {
  local data=$folder/postgres
  own_folder "$data"
  as_user "$postgres_programs/initdb" -D "$data/data" -U ringline --auth=trust -E UTF8 --locale=C || fail "initdb failed: $(tail -3 "$log")"
  printf "%s\n" "listen_addresses = ''" "unix_socket_directories = '$data'" "max_connections = 200" >> "$data/data/postgresql.conf"
  cat > "$POSTGRES_CONTROL" << END
#!/bin/sh
cd /
follow() { $postgres_programs/psql -qX -h $folder/standby -U ringline -c "ALTER SYSTEM SET primary_conninfo = '\$1'" -c 'SELECT pg_reload_conf()' postgres; }
case \$1 in
start) exec ${user[*]} $postgres_programs/pg_ctl -D $data/data -w -t 60 -l $data/log start ;;
stop) exec ${user[*]} $postgres_programs/pg_ctl -D $data/data -w -t 60 -m immediate stop ;;
start-standby) exec ${user[*]} $postgres_programs/pg_ctl -D $folder/standby/data -w -t 60 -l $folder/standby/log start ;;
stop-standby) exec ${user[*]} $postgres_programs/pg_ctl -D $folder/standby/data -w -t 60 -m immediate stop ;;
cut) follow '' ;;
join) follow 'host=$data user=ringline' ;;
promote) exec ${user[*]} $postgres_programs/pg_ctl -D $folder/standby/data -w -t 60 promote ;;
*) exit 2 ;;
esac
END
  chmod +x "$POSTGRES_CONTROL"
  "$POSTGRES_CONTROL" start > "$log" 2>&1 || fail "PostgreSQL did not start: $(tail -3 "$log" "$data/log")"
  tell POSTGRES_CONTROL="$POSTGRES_CONTROL" DATABASE_URL="postgresql:///postgres?host=$data&user=ringline"
}
stop_postgres() { [ ! -x "${POSTGRES_CONTROL:-}" ] || "$POSTGRES_CONTROL" stop > "$folder/stop.log" 2>&1; }

start_standby() {
  local data=$folder/standby
  own_folder "$data"
  as_user "$postgres_programs/pg_basebackup" -h "$folder/postgres" -U ringline -D "$data/data" -R -c fast || fail "pg_basebackup failed: $(tail -3 "$log")"
  printf "%s\n" "unix_socket_directories = '$data'" >> "$data/data/postgresql.conf"
  "$POSTGRES_CONTROL" start-standby > "$log" 2>&1 || fail "the standby did not start: $(tail -3 "$log" "$data/log")"
  tell DATABASE_REPLICA_URL="postgresql:///postgres?host=$data&user=ringline" POSTGRES_BOTH="postgresql:///postgres?host=$folder/postgres,$data&user=ringline"
}
stop_standby() { [ ! -d "$folder/standby/data" ] || "$POSTGRES_CONTROL" stop-standby > "$folder/stop.log" 2>&1; }
