"""PostgreSQL away for a minute while people chat: what that does to latency, and how soon all of it is in the database.

Needs a server of its own: `scripts/services run postgres -- scripts/bench --scenario outage --peers ''`. Who chats while it is away has signed in before.
"""
import os
import subprocess
import time

import watch
from database import Postgres, wait_for
from scenarios import judge, latency_bound_ms, rows_of, small, step_figures
from servers import BenchError

FACTOR = 1.25
STORED_WITHIN = 30
WARMUP = 10  # the rate rises meanwhile, and the server is stopped
STARTS_WITHIN = 60


def control(what):
    done = subprocess.run([os.environ['POSTGRES_CONTROL'], what], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f'{what} of PostgreSQL failed: {done.stderr.strip()}')


def messages(postgres):
    return int(postgres.sql('SELECT count(*) FROM messages'))


def outage(bench, found):
    postgres = Postgres()
    away = small(bench, 60, 3)
    warmup = small(bench, WARMUP, 3)
    server = bench.own(core_threads=small(bench, 2, 1), settings={'DATABASE_URL': postgres.url})
    crowd = ('--connections', small(bench, 1000, 20), '--room-size', 10, '--rate', bench.options.rate, '--seconds', away, '--warmup', warmup, '--client-ids')
    before = bench.load(server, *crowd)
    wait_for(server, 'ringline_store_lag_events', STORED_WITHIN)
    had = messages(postgres)
    chat = bench.start_load(server, *crowd)
    until = time.monotonic() + STARTS_WITHIN
    while messages(postgres) == had:
        if time.monotonic() > until:
            raise BenchError('nobody has sent anything')
        time.sleep(0.1)
    control('stop')
    try:
        during = bench.finish_load(chat, server)
        behind = watch.lag(server)
    finally:
        control('start')
    caught_up = wait_for(server, 'ringline_store_lag_events', 10 * STORED_WITHIN)
    rows = {'before': [step_figures(before)], f'away for {away} s': [step_figures(during)]}
    found.setdefault('parts', {})[f'{bench.options.rate:g} messages/s'] = rows_of(rows)
    found['notes'] = [f'{behind:.0f} events waited when PostgreSQL came back. Ringline, the load tool and PostgreSQL share the two cores.']
    p99 = [result['steps'][0]['latency']['p99Ms'] for result in (before, during)]
    judge(found, 'p99 while it is away', p99[1], latency_bound_ms(p99[0], FACTOR), unit='ms')
    judge(found, 'all of it is in the database within', caught_up, STORED_WITHIN, unit='s')
    sent = sum(result['steps'][0]['all']['sent'] - result['steps'][0]['all']['refused'] for result in (before, during))
    judge(found, 'messages in the database, of those sent', messages(postgres) / sent, 1, at_least=True)
