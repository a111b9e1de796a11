"""PostgreSQL: how fast messages go from the journal into it, how fast their words follow, and what its answers to history and search cost.

Needs a server of its own: `scripts/services run postgres -- scripts/bench --scenario database`. The plans in the report are those of the statements that
Ringline sent, written by PostgreSQL itself (auto_explain).
"""
import json
import os
import pathlib
import re
import subprocess
import time
import urllib.parse
import urllib.request

import watch
from scenarios import judge, rows_of, small, spread
from servers import BenchError

STORED_PER_SECOND = 20_000
FED_PER_SECOND = 3_000
ANSWER_MS = 10
WARM = 2  # not counted
ASKED = 9  # then
PLAN = re.compile(r'duration: ([\d.]+) ms  plan:\n((?:\t.*\n?)+)')
SETTINGS = {'session_preload_libraries': 'auto_explain', 'auto_explain.log_min_duration': '0', 'auto_explain.log_analyze': 'on',
            'auto_explain.log_buffers': 'on', 'auto_explain.log_nested_statements': 'off'}
FILL = '''
INSERT INTO messages (room_id, seq, id, sender_id, type, text, created_ms)
  SELECT {room}, {seq} + i, ((at - 1577836800000) << 22) + i, {user}, 'text',
    concat_ws(' ', 'a' || (hashint8extended(i, 1) & 16383), 'b' || (hashint8extended(i, 2) & 16383), 'c' || (hashint8extended(i, 3) & 16383),
      'd' || (hashint8extended(i, 4) & 1023), 'e' || (hashint8extended(i, 5) & 1023), 'f' || (hashint8extended(i, 6) & 255),
      'g' || (hashint8extended(i, 7) & 15), CASE WHEN i % 10 = 3 THEN 'often' ELSE 'seldom' END,
      CASE WHEN i / 10 % 10 = 7 THEN 'common' ELSE 'odd' END, CASE WHEN i IN (5, {count} / 2, {count} - 5) THEN 'needle' ELSE 'hay' END), at
  FROM (SELECT i, (extract(epoch FROM now()) * 1000)::bigint - ({count} - i) * 100 AS at FROM generate_series(1, {count}) AS i) AS made;
UPDATE rooms SET last_seq = {seq} + {count}, ingested_seq = {seq} + {count}, message_count = message_count + {count} WHERE id = {room};
INSERT INTO text_queue (rooms, first_seqs, last_seqs, first_id, last_id, messages)
  SELECT ARRAY[{room}], ARRAY[first], ARRAY[least(first + 4095, {seq} + {count})], 0, 9223372036854775807, 4096
  FROM generate_series({seq} + 1, {seq} + {count}, 4096) AS first;
ANALYZE messages;
'''


class Postgres:
    def __init__(self):
        self.url = os.environ.get('DATABASE_URL', '')
        socket = urllib.parse.parse_qs(urllib.parse.urlsplit(self.url).query).get('host', [''])[0]
        self.log = pathlib.Path(socket) / 'log'
        if not self.url.startswith('postgres') or not self.log.is_file():
            raise BenchError('run it as `scripts/services run postgres -- scripts/bench --scenario database`')

    def sql(self, statement):
        done = subprocess.run(['psql', '-qtAX', '-v', 'ON_ERROR_STOP=1', '-c', statement, self.url], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f'psql: {done.stderr.strip()}')
        return done.stdout.strip()

    def texts(self):
        """How many have had their words taken in."""
        return int(self.sql("SELECT value FROM meta WHERE name = 'text_places'"))

    def explain(self):
        for name, value in SETTINGS.items():
            self.sql(f"ALTER DATABASE postgres SET {name} = '{value}'")

    def plans(self, ask):
        """What PostgreSQL did for a question: milliseconds and the plans of the statements that read messages or words."""
        offset = self.log.stat().st_size
        ask()
        time.sleep(0.2)  # the log is written behind the answer
        with open(self.log, encoding='utf-8', errors='replace') as file:
            file.seek(offset)
            found = [(float(ms), text) for ms, text in PLAN.findall(file.read())]
        return [(ms, text) for ms, text in found if re.search(r'FROM (messages m|\(SELECT place)', text)]


def request(server, path, token=None, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {'Content-Type': 'application/json', **({'Authorization': f'Bearer {token}'} if token else {})}
    with urllib.request.urlopen(urllib.request.Request(f'http://127.0.0.1:{server.port}/api/v1{path}', data, headers), timeout=60) as answer:
        return json.load(answer)


def wait_for(server, name, seconds, to=0):
    """Until a gauge is down; how many seconds that took."""
    began = time.monotonic()
    while watch.metrics(server).get(name, 0) > to:
        if time.monotonic() - began > seconds:
            raise BenchError(f'{name} is not down after {seconds} s')
        time.sleep(0.2)
    return time.monotonic() - began


def ingest(bench, found, server, postgres):
    rate, seconds = small(bench, 22_000, 500), small(bench, 60, 2)
    tool = bench.start_load(server, '--connections', small(bench, 1000, 20), '--room-size', 2, '--rate', rate, '--seconds', seconds, '--warmup',
                            small(bench, 10, 0.5), '--client-ids')
    time.sleep(small(bench, 12, 1))
    from_count, from_texts, began = watch.metrics(server)['ringline_store_events_total'], postgres.texts(), time.monotonic()
    time.sleep(seconds - small(bench, 3, 0.5))
    after, texts, took = watch.metrics(server), postgres.texts(), time.monotonic() - began
    stored, fed_beside = (after['ringline_store_events_total'] - from_count) / took, (texts - from_texts) / took
    lag = after['ringline_store_lag_events']
    bench.finish_load(tool, server)
    caught_up = wait_for(server, 'ringline_store_lag_events', 120)
    waiting = watch.metrics(server)['ringline_text_lag_messages']
    fed = waiting / max(wait_for(server, 'ringline_text_lag_messages', 1200), 0.001)
    row = {'sent a second': rate, 'stored a second': stored, 'texts taken in a second': fed_beside, 'waiting at the end': lag,
           'caught up within, s': caught_up, 'texts waiting then': waiting}
    found.setdefault('parts', {})[f'ingest for {seconds} s, with a clientId each'] = rows_of({server.name: [row]})
    judge(found, 'messages stored a second', stored, STORED_PER_SECOND, at_least=True)
    judge(found, 'texts taken in a second beside', fed_beside, FED_PER_SECOND, at_least=True)
    return fed


def answers(bench, found, server, postgres):
    count = small(bench, 1_000_000, 20_000)
    guest = request(server, '/auth/guest', body={'name': 'reader'})
    token = guest['accessToken']
    room = request(server, '/rooms', token, {'type': 'group', 'name': 'a million'})['room']
    wait_for(server, 'ringline_store_lag_events', 60)
    seq = int(postgres.sql(f'SELECT ingested_seq FROM rooms WHERE id = {room["id"]}'))

    def fill():
        postgres.sql(FILL.format(room=room['id'], seq=seq, user=guest['user']['id'], count=count))
        postgres.explain()

    server.restart(fill)
    time.sleep(2)
    took = wait_for(server, 'ringline_text_lag_messages', 1200)
    postgres.sql('VACUUM ANALYZE messages')
    postgres.sql('VACUUM ANALYZE message_texts')
    rows, plans = {}, found.setdefault('plans', {})
    for what, path in {'the newest page of 50': f'/rooms/{room["id"]}/messages?limit=50',
                       'a page of 50 in the middle': f'/rooms/{room["id"]}/messages?limit=50&before={seq + count // 2}',
                       'a rare word': '/search/messages?q=needle', 'a word in one of ten messages': '/search/messages?q=often',
                       'a pair of such words': '/search/messages?q=often+common'}.items():
        asked = [postgres.plans(lambda: request(server, path, token)) for _ in range(WARM + ASKED)][WARM:]
        if not all(asked):
            raise BenchError(f'PostgreSQL has logged no plan of {what}')
        rows[what] = [{'at the database, ms': sum(ms for ms, _ in seen), 'statements': len(seen)} for seen in asked]
        plans[what] = '\n'.join(f'{ms:.3f} ms\n{text.replace(chr(9), "")}' for ms, text in asked[-1])
        judge(found, f'{what}, at the database', spread(row['at the database, ms'] for row in rows[what]), ANSWER_MS, unit='ms')
    found.setdefault('parts', {})[f'a room of {count} messages of ten words, with a warm cache'] = rows_of(rows)
    return count / max(took, 0.001)


def database(bench, found):
    postgres = Postgres()
    server = bench.own(core_threads=small(bench, 2, 1), settings={'DATABASE_URL': postgres.url})
    fed_behind = ingest(bench, found, server, postgres)
    fed = answers(bench, found, server, postgres)
    found['notes'] = ['Ringline, the load tool and PostgreSQL share the two cores.',
                      f'Words were taken in at {fed_behind:,.0f} messages a second after the ingest and {fed:,.0f} with nothing beside.']
    judge(found, 'texts taken in a second with nothing beside', fed, FED_PER_SECOND, at_least=True)
