"""Two hosts on one Redis: what the way to a member at the other host costs, and what Redis and the hosts do for a message.

Needs servers of its own: `scripts/services run postgres redis -- scripts/bench --scenario hosts --peers ''`. Everybody is in all rooms. Who sends is at either
host in turn; a message's way to members at its own host is what its way to the others is compared with.
"""
import collections
import os
import re
import shutil
import subprocess
import tempfile
import time

import watch
from scenarios import judge, rows_of, small, warmup
from servers import BenchError

ADDED_MS = 2
CALLS = 1.005  # of functions: one, and what falls on the edges of the time that is watched
OTHER_CALLS = 0.2
DELIVERIES = 1.05  # of messages, and the little that hosts tell each other besides
MEMBERS = (5, 50)  # of a room at a host
ROOMS = 4
SLICES = 3
WATCHED_SECONDS = 5
DELIVERED = 'ringline_redis_messages_total'
APPENDS = 'FCALL ringline_append'
SECRET = 'a secret that both hosts of this run have'
CALL = re.compile(r'^(\d+\.\d+) \[\d+ (?!lua)\S+\] "([^"]*)"(?: "([^"]*)")?')  # a client's, in what MONITOR says


def cli(*words):
    return ['redis-cli', '--no-auth-warning', '-u', os.environ['REDIS_URL'], *words]


def calls_by_command():
    """Commands that Redis has run so far, those inside functions too."""
    done = subprocess.run(cli('INFO', 'commandstats'), capture_output=True, text=True, check=True)
    return collections.Counter({name: int(count) for name, count in re.findall(r'^cmdstat_(\S+?):calls=(\d+)', done.stdout, re.MULTILINE)})


class People:
    """The load tool with its people in; `end` when they are to stop."""

    def __init__(self, bench, servers, members):
        self.bench, self.server = bench, servers[0]
        at = [word for server in servers for word in ('--at', f'127.0.0.1:{server.port}')]
        self.tool = bench.start_load(self.server, '--hosts', *at, '--connections', 2 * members, '--rooms', ROOMS, '--rate', bench.options.rate,
                                     '--move-every', 0, '--seconds', 600, text=subprocess.PIPE, commands=subprocess.PIPE)

    def __enter__(self):
        self._line('ready')
        self.mark('trouble')
        return self

    def __exit__(self, *_):
        self.tool.kill()  # where something has failed; else it has ended
        self.tool.wait()
        self.tool.stdin.close()
        self.tool.stdout.close()

    def say(self, word):
        self.tool.stdin.write(f'{word}\n')
        self.tool.stdin.flush()

    def mark(self, word):
        """`quiet` and `trouble` begin and end what is measured: how many messages were sent so far."""
        self.say(word)
        return int(self._line('sent').split()[1])

    def _line(self, beginning):
        for line in self.tool.stdout:
            if line.startswith(beginning):
                return line
        raise BenchError(f'the load tool ended with {self.tool.wait()} before it said `{beginning}`')

    def end(self):
        """When all has come to everybody."""
        self.say('end')
        self.tool.stdout.read()
        return self.bench.finish_load(self.tool, self.server)


def measure(bench, servers, members):
    """One slice: latencies, and what Redis and each host have counted for a message."""
    with People(bench, servers, members) as people:
        time.sleep(warmup(bench))
        commands, hosts_before, sent = calls_by_command(), [watch.metrics(server) for server in servers], people.mark('quiet')
        time.sleep(bench.options.seconds)
        messages = people.mark('trouble') - sent
        hosts_after, commands = [watch.metrics(server) for server in servers], calls_by_command() - commands
        result = people.end()
    told = [after[DELIVERED] - before[DELIVERED] for after, before in zip(hosts_after, hosts_before)]
    same, other = (result['quiet'][where] for where in ('sameHost', 'otherHost'))
    return {'same host p50, ms': same['p50Ms'], 'other host p50, ms': other['p50Ms'], 'added, ms': other['p50Ms'] - same['p50Ms'],
            'same host p99, ms': same['p99Ms'], 'other host p99, ms': other['p99Ms'], 'messages/s': result['messagesPerSecond'],
            'deliveries a host a message': max(told) / messages, 'clean': result['clean']}, {name: count / messages for name, count in commands.items()}


def client_calls(bench, servers, members):
    """What hosts ask of Redis for a message, by command and function. Watched apart, since Redis is slower meanwhile."""
    with tempfile.TemporaryFile('w+') as said, People(bench, servers, members) as people:
        monitor = subprocess.Popen(cli('MONITOR'), stdout=said)
        try:
            time.sleep(warmup(bench))
            sent, began = people.mark('quiet'), time.time()
            time.sleep(small(bench, WATCHED_SECONDS, 1))
            messages, ended = people.mark('trouble') - sent, time.time()
            people.end()
        finally:
            monitor.terminate()
            monitor.wait()
        said.seek(0)
        return {name: count / messages for name, count in client_calls_in(said, began, ended).most_common()}


def client_calls_in(lines, began, ended):
    """Of what MONITOR says of a time: the calls of clients, and not what functions run."""
    found = collections.Counter()
    for line in lines:
        call = CALL.match(line)
        if call and began <= float(call.group(1)) <= ended:
            name, function = call.group(2).upper(), call.group(3)
            found[f'{name} {function}' if name == 'FCALL' else name] += 1
    return found


def hosts(bench, found):
    if not os.environ.get('REDIS_URL') or not os.environ.get('DATABASE_URL') or not shutil.which('redis-cli'):
        raise BenchError("run it as `scripts/services run postgres redis -- scripts/bench --scenario hosts --peers ''`")
    settings = {'JWT_SECRET': SECRET, 'REDIS_URL': os.environ['REDIS_URL'], 'DATABASE_URL': os.environ['DATABASE_URL']}
    servers = [bench.own(f'host {name}', small(bench, 2, 1), settings=settings) for name in 'AB']
    rows, commands, calls = {}, {}, {}
    for members in MEMBERS:
        who = f'{members} members a room a host'
        slices = [measure(bench, servers, members) for _ in range(small(bench, SLICES, 1))]
        rows |= rows_of({who: [taken for taken, _ in slices]})
        commands[who] = slices[-1][1]
        calls[who] = client_calls(bench, servers, members)
        bench.say(f'{who}: {rows[who]["added, ms"]["median"]:.2f} ms more to the other host')
        parts = found.setdefault('parts', {})
        parts[f'{bench.options.rate:g} messages/s in {ROOMS} rooms'] = rows
        parts['calls of the hosts to Redis a message'] = {name: row_of(row) for name, row in calls.items()}
        parts['commands in Redis a message, those of its functions too (INFO commandstats)'] = {name: row_of(row) for name, row in commands.items()}
    few, many = (f'{members} members a room a host' for members in MEMBERS)
    judge(found, 'cross-host: median added latency', rows[few]['added, ms'], ADDED_MS, unit='ms')
    for who in (few, many):
        judge(found, f'function calls a message, {who}', calls[who].get(APPENDS, 0), CALLS)
        judge(found, f'other calls a message, {who}', sum(count for name, count in calls[who].items() if name != APPENDS), OTHER_CALLS)
        judge(found, f'deliveries a host a message, {who}', rows[who]['deliveries a host a message'], DELIVERIES)
    found['notes'] = ['Both hosts, the load tool, Redis and PostgreSQL share the two cores. Latencies count from when a message should have been sent, which '
                      'the load tool does up to a millisecond late; that is the same for members at both hosts.']


def row_of(counts):
    return {name: {'median': count, 'low': count, 'high': count, 'values': [count]} for name, count in counts.items() if count >= 0.005}
