"""The matrix. A scenario takes a Bench and writes into its dictionary: rows (per server: figures), judged (a figure beside its bound), notes.

One rule for all comparisons: alternating slices, the median of the ratios of the pairs is judged, its spread is printed. A bound on latency under some
load is the larger of factor x quiet and quiet + 10 ms. Memory is judged by its slope after the first minutes.
"""
import dataclasses
import math
import resource
import statistics
import subprocess
import threading
import time
from typing import Callable

import machine
import watch
from servers import BenchError

STORE_THREADS = ('store-write', 'store-read')
LATENCY_SLACK_MS = 10
DRAIN_SECONDS = 120
DRAINED_EVENTS = 1000
ACK_SLACK_US = 150
SOAK_SKIP = 0.2  # of the time: warm-up
IDLE_CONNECTIONS = 19_000
SETTLING_SECONDS = 420  # until the tails of rooms that are quiet are dropped, and the core has given their memory back
HOLD_MEMORY = 8 * 2**30  # below it the scenario hold is skipped
HOLD_BYTES_EACH = 16 * 1024  # both ends of a connection: kernel, server and load tool, with some to spare
HOLD_FILL = 0.95  # of a core's descriptors: chance does not give each core the same number of connections
HOLD_OTHERS = 200  # descriptors of a core that are no connections
HOLD_TOOL = 18_000  # connections of one load tool
HOLD_TOOL_SOURCES = 5  # addresses it connects from
HOLD_ROOM = 10  # members: each that comes is told to the others
HOLD_AT_ONCE = 4  # load tools that sign in at the same time
HOLD_SIGN_IN_SECONDS = 300  # for such a group


def spread(values):
    """Median, lowest, highest."""
    values = list(values)
    return {'median': statistics.median(values), 'low': min(values), 'high': max(values), 'values': values}


def latency_bound_ms(quiet_ms, factor):
    return max(factor * quiet_ms, quiet_ms + LATENCY_SLACK_MS)


def judge(found, what, value, bound, at_least=False, unit=''):
    """A figure beside its bound: printed, not asserted."""
    median = value['median'] if isinstance(value, dict) else value
    found.setdefault('judged', []).append({'what': what, 'value': value, 'bound': bound, 'atLeast': at_least, 'unit': unit,
                                           'met': median >= bound if at_least else median <= bound})


def cpu_us(step, kind, without_store=False):
    """CPU time a delivery or a message sent, in the measured time."""
    server, count = step['server'], step['measured'][kind]
    if not server or count == 0:
        return 0.0
    store = sum(seconds for name, seconds in server['threads'].items() if name in STORE_THREADS)
    return (server['cpuSeconds'] - (store if without_store else 0)) * 1e6 / count


def step_figures(result):
    step = result['steps'][0]
    return {
        'CPU a delivery, µs': cpu_us(step, 'deliveries'),
        'without the store thread': cpu_us(step, 'deliveries', True),
        'p50, ms': step['latency']['p50Ms'], 'p90, ms': step['latency']['p90Ms'], 'p99, ms': step['latency']['p99Ms'],
        'p99.9, ms': step['latency']['p999Ms'],
        'messages/s': step['messagesPerSecond'],
        'clean': step['clean'],
    }


def paired(bench, found, servers, part, figures, flags, pairs=None):
    """Alternating slices; a row of figures for each server, with what was measured so far if it is interrupted. The first of `servers` is the last of all to be
    measured: what it leaves behind can be looked at then."""
    slices = {server.name: [] for server in servers}
    pairs = pairs or bench.options.pairs
    for pair in range(pairs):
        for server in reversed(servers) if (pairs - pair) % 2 else servers:
            result = bench.load(server, *(flags(server) if callable(flags) else flags))
            found.setdefault('raw', []).append({'part': part, 'server': server.name, 'result': result})
            took = figures(result)
            slices[server.name].append(took)
            shown = ', '.join(f'{key} {value:.2f}' for key, value in list(took.items())[:4] if not isinstance(value, bool))
            bench.say(f'{part} {pair + 1}/{pairs}  {server.name}: {shown}{"" if took.get("clean", True) else "  NOT CLEAN"}')
            whole = min(len(own) for own in slices.values())
            if whole:
                found.setdefault('parts', {})[part] = rows_of({name: own[:whole] for name, own in slices.items()})
    return found['parts'][part]


def rows_of(slices):
    rows = {}
    for name, taken in slices.items():
        keys = [key for key in taken[0] if key != 'clean']
        rows[name] = {key: spread(figures[key] for figures in taken) for key in keys}
        if 'clean' in taken[0]:
            rows[name]['clean'] = all(figures['clean'] for figures in taken)
    return rows


def ratios(rows, key, first, other):
    pairs = zip(rows[first][key]['values'], rows[other][key]['values'])
    return spread([mine / theirs for mine, theirs in pairs if theirs > 0] or [0.0])


def small(bench, full, quick):
    return quick if bench.options.quick else full


def warmup(bench):
    return small(bench, 2, 0.3)


def steady(bench, *flags):
    return ['--busy-poll', '--seconds', bench.options.seconds, '--warmup', warmup(bench), *flags]


def seeking(bench, start, *flags):
    return ['--busy-poll', '--search', '--rate', start, '--p99-ms', bench.options.p99_ms, '--seconds', bench.options.step_seconds, '--warmup',
            small(bench, 4, 0.2), *small(bench, [], ['--rate-max', start]), *flags]


def highest(bench, found, servers, start, flags):
    """The highest rate, searched in turn; the first search begins low, the next where the first one ended."""
    begin = {server.name: start for server in servers}

    def figures(result):
        return {'messages/s': result.get('highestRate', 0)}

    def own_flags(server):
        taken = found.get('parts', {}).get('highest rate', {}).get(server.name)
        if taken and taken['messages/s']['values'][-1] > 0:
            begin[server.name] = taken['messages/s']['values'][-1] * 0.8
        return seeking(bench, begin[server.name], *flags)

    return paired(bench, found, servers, 'highest rate', figures, own_flags, bench.options.searches)


def compare(found, rows, key, servers, bounds, at_least):
    """The ratio of the first to each other; the bound of those that have one."""
    first = servers[0].name
    for other in servers[1:]:
        ratio = ratios(rows, key, first, other.name)
        found.setdefault('ratios', []).append({'what': f'{key}: {first} to {other.name}', 'value': ratio})
        for name, bound in bounds.items():
            if name == other.name:
                judge(found, f'{key}, to {name}', ratio, bound, at_least)


def throughput(bench, found, crowd, rate, start, cpu_bounds, rate_bounds):
    """Both halves of fanout and pairs: CPU at one rate, and the highest rate."""
    servers = bench.ours() + bench.peers()
    with watch.Watch(servers) as seen:
        if bench.options.only != 'highest':
            rows = paired(bench, found, servers, f'at {rate:g} messages/s', step_figures, steady(bench, '--rate', rate, *crowd))
            compare(found, rows, 'without the store thread', servers, cpu_bounds, False)
        if bench.options.only != 'cpu':
            rows = highest(bench, found, servers, start, crowd)
            compare(found, rows, 'messages/s', servers, rate_bounds, True)
            if not bench.options.compare:
                backlog(bench, found, servers[0], rows[servers[0].name]['messages/s']['median'], crowd)
    found['memory'] = seen.series


def backlog(bench, found, server, rate, crowd):
    """What the slices left to the store: has it taken that in in time, with chat at half the rate? And at which rate does it keep up?"""
    if rate <= 0:
        return
    at_once, began = watch.lag(server), time.monotonic()
    all_of_it, drained = watch.stored(server) + at_once, None
    seconds = DRAIN_SECONDS if at_once > rate else 20
    chat = bench.start_load(server, *crowd, '--rate', rate / 2, '--seconds', small(bench, seconds, 1), '--warmup', 0)
    while chat.poll() is None:
        if drained is None and watch.stored(server) >= all_of_it:
            drained = time.monotonic() - began
        time.sleep(0.5)
    result = bench.finish_load(chat, server)
    if drained is None:  # so long it would take
        drained = (time.monotonic() - began) * at_once / max(at_once - all_of_it + watch.stored(server), 1)
    judge(found, f'backlog of {at_once:.0f} events taken in, with chat at half the rate', drained, DRAIN_SECONDS, unit='s')
    judge(found, 'p99 meanwhile', result['steps'][0]['latency']['p99Ms'], bench.options.p99_ms, unit='ms')
    found.setdefault('notes', []).append(kept_up(bench, server, rate, crowd))


def kept_up(bench, server, rate, crowd):
    """The highest share of the rate at which the store is behind by less than a second after a slice."""
    for share in (1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1):
        until = time.monotonic() + DRAIN_SECONDS
        while watch.lag(server) > DRAINED_EVENTS and time.monotonic() < until:
            time.sleep(0.5)
        bench.load(server, *crowd, '--busy-poll', '--rate', rate * share, '--seconds', bench.options.seconds, '--warmup', warmup(bench))
        behind = watch.lag(server)
        if behind <= max(rate * share, DRAINED_EVENTS):
            return f'{server.name} with its store keeping up: {rate * share:.0f} messages/s ({behind:.0f} events behind at the end).'
    return f'{server.name}: its store does not keep up with {rate / 10:.0f} messages/s.'


def fanout(bench, found):
    crowd = small(bench, ('--connections', 1000, '--room-size', 100), ('--connections', 100, '--room-size', 20))
    throughput(bench, found, crowd, bench.options.rate, small(bench, 1000, 200), {'uWebSockets': 0.85}, {'uWebSockets': 1.3, 'Socket.IO': 20})


def pairs(bench, found):
    crowd = ('--connections', small(bench, 10_000, 100), '--room-size', 2, '--concurrency', 256)
    throughput(bench, found, crowd, small(bench, 10_000, 200), small(bench, 5000, 200), {}, {'uWebSockets': 0.8, 'Socket.IO': 2.5})


def burst_figures(result):
    bursts = result['bursts']
    return {'busiest thread, ms': statistics.median(bursts['busiestThreadMs']), 'all threads, ms': statistics.median(bursts['allThreadsMs'])}


def room10k(bench, found):
    members = small(bench, 10_000, 200)
    builds = bench.ours() if bench.options.compare else []
    two, one = builds or (bench.own('Ringline, 2 cores', 2), bench.own('Ringline, 1 core'))
    servers = [two, one, *bench.peers()]
    rows = paired(bench, found, servers, f'a message to {members}', burst_figures,
                  ['--burst', '--connections', members, '--room-size', members, '--concurrency', 256, '--bursts', small(bench, 20, 3), '--burst-every',
                   small(bench, 2, 0.3)], small(bench, 3, 1))
    found['notes'] = ['CPU time of the thread that has most to do, which with the cores to itself is the time from commit to the last send; receivers '
                      'are paused until it is over. Median of the messages of each slice.']
    if builds:
        compare(found, rows, 'busiest thread, ms', servers, {}, False)
    else:
        judge(found, 'two cores to one', ratios(rows, 'busiest thread, ms', two.name, one.name), 0.7)


def ack_figures(result):
    step = result['steps'][0]
    return {'answer p50, µs': step['answer']['p50Ms'] * 1000, 'answer p99, µs': step['answer']['p99Ms'] * 1000,
            'CPU a send, µs': cpu_us(step, 'sent'), 'without the store thread': cpu_us(step, 'sent', True), 'sends/s': step['messagesPerSecond'],
            'clean': step['clean']}


def ack(bench, found):
    servers = bench.ours() + [server for server in bench.peers(echoing=True) if not server.plan.get('dialect') or server.plan['dialect'].get('answer')]
    before = machine.median_commit_us(bench.data)
    alone = paired(bench, found, servers, 'one connection', ack_figures, steady(bench, '--ack', '--connections', 1, '--room-size', 1))
    after = machine.median_commit_us(bench.data)
    many = small(bench, 1000, 50)
    rows = paired(bench, found, servers, f'{many} connections', ack_figures, steady(bench, '--ack', '--connections', many, '--room-size', 1))
    found['notes'] = [f'Median commit of the disk before and after one connection\'s slices: {before:.0f} and {after:.0f} µs; the lower one is judged by.']
    commit = min(before, after)
    judge(found, 'answer, median, beyond a commit', alone[servers[0].name]['answer p50, µs']['median'] - commit, ACK_SLACK_US, unit='µs')
    compare(found, rows, 'without the store thread', servers, {'uWebSockets echo': 2.5}, False)


def idle(bench, found):
    """Fresh servers: memory that an earlier crowd left would be used again."""
    count = small(bench, IDLE_CONNECTIONS, 200)

    def figures(result):
        server = result['idle']['server']
        return {'anonymous, bytes a connection': server['anonymousBytes'] / count, 'resident, bytes a connection': server['residentBytes'] / count,
                'idle CPU, % of a core': server['cpuSeconds'] / result['idle']['seconds'] * 100,
                'setting up, µs of CPU each': result['setUp']['server']['cpuSeconds'] * 1e6 / count}

    ours = bench.ours()

    def flags(server):
        seconds = small(bench, SETTLING_SECONDS if server in ours else 30, 1)
        return '--idle', '--connections', count, '--seconds', seconds, '--concurrency', 256

    rows = paired(bench, found, ours + bench.peers(), f'{count} connections', figures, flags, 1)
    found['notes'] = [f'Ringline after {SETTLING_SECONDS} s without a message: a room keeps its events in memory for five minutes. '
                      'Anonymous memory is judged: pages of the program and its libraries are there once, however many connect.']
    for name, row in rows.items():
        if not name.startswith(tuple(profile['name'] for profile in bench.profiles)):
            judge(found, f'{name}: memory a connection', row['anonymous, bytes a connection'], 700, unit='bytes')


def storm(bench, found):
    count = small(bench, 10_000, 200)

    def figures(result):
        back = result['return']
        return {'CPU a connection, µs': back['server']['cpuSeconds'] * 1e6 / count, 'connections/s': count / max(back['seconds'], 1e-9),
                'first time, µs': result['setUp']['server']['cpuSeconds'] * 1e6 / count}

    servers = bench.ours() + bench.peers()
    rows = paired(bench, found, servers, f'{count} connect, sign in by token, join', figures,
                  ['--busy-poll', '--storm', '--connections', count, '--room-size', 100, '--concurrency', 256], small(bench, 3, 1))
    found['notes'] = ['A peer has no tokens: its connections connect and join.']
    judge(found, 'server CPU', rows[servers[0].name]['CPU a connection, µs'], 80, unit='µs')
    compare(found, rows, 'CPU a connection, µs', servers, {}, False)


def history(bench, found):
    def figures(result):
        step = result['steps'][-1]
        return {'pages/s': step['messagesPerSecond'], 'CPU a page, µs': cpu_us(step, 'sent'), 'p50, ms': step['answer']['p50Ms'],
                'p99, ms': step['answer']['p99Ms'], 'clean': step['clean']}

    paired(bench, found, bench.ours(), 'pages of 50', figures,
           steady(bench, '--history', '--connections', small(bench, 100, 20), '--room-size', 10, '--missed', small(bench, 200, 60)), small(bench, 3, 1))


def resume(bench, found):
    """The server is stopped when the load tool says so, and started on the same folder and port."""
    count, missed = small(bench, IDLE_CONNECTIONS, 200), small(bench, 200, 20)
    slices = {}
    for server in bench.ours():
        running = bench.start_load(server, '--busy-poll', '--resume', '--connections', count, '--room-size', 100, '--missed', missed, '--concurrency',
                                   small(bench, 1024, 64), text=subprocess.PIPE)
        for line in running.stdout:
            if line.startswith('restart the server now'):
                break
        started = server.restart()
        running.stdout.read()
        result = bench.finish_load(running, server)
        if 'return' not in result:
            raise BenchError(f'{server.name}: {result["failure"]}')
        back = result['return']
        slices[server.name] = [{'back within, s': back['seconds'], 'start until it accepts, s': started, 'resumed': back['resumed'],
                                'tried again': back['triedAgain'], 'told to reload': back['incomplete'], 'deliveries missing': back['missing'],
                                'clean': result['clean']}]
        found['parts'] = {f'{count} clients, {missed} events missed in each room': rows_of(slices)}
        judge(found, f'{server.name}: all are back', back['seconds'], 5, unit='s')


def soak(bench, found):
    servers = bench.ours()
    rate, churn = small(bench, 500, 100), small(bench, 50, 20)
    crowd = small(bench, ('--connections', 2000, '--room-size', 100), ('--connections', 100, '--room-size', 20))
    for server in servers:
        bench.load(server, *crowd, '--rate', rate, '--seconds', 1, '--warmup', 0)  # opens what is opened once and kept
        before = watch.descriptors(server.pids)
        with watch.Watch([server]) as seen:
            result = bench.load(server, *crowd, '--rate', rate, '--churn', churn, '--seconds', bench.options.soak_seconds, '--warmup', warmup(bench))
        found.setdefault('memory', {}).update(seen.series)
        time.sleep(2)
        left = watch.descriptors(server.pids) - before
        step = result['steps'][0]
        figures = step_figures(result) | {'came back': step['cameBack'], 'descriptors left over': left}
        found.setdefault('parts', {})[f'{rate} messages/s, {churn} connections a second come and go'] = rows_of({server.name: [figures]})
        slope = watch.slope_mib_a_minute(seen.series[server.name], bench.options.soak_seconds * SOAK_SKIP)
        judge(found, f'{server.name}: memory', slope, 1, unit='MiB a minute')
        judge(found, f'{server.name}: descriptors left over', left, 0)


def fairness(bench, found):
    """Quiet rooms alone, and beside one that is as busy as it can be."""
    servers = bench.ours() + bench.peers()
    quiet = ('--connections', small(bench, 500, 50), '--room-size', 10, '--rate', small(bench, 100, 50), '--seconds', bench.options.seconds, '--warmup',
             warmup(bench))
    busy = ('--connections', 100, '--room-size', 100, '--rate', small(bench, 3000, 200), '--warmup', 0, '--drain', 5)

    def figures(result):
        return {key: value for key, value in step_figures(result).items() if key.startswith('p') or key == 'clean'}

    alone = paired(bench, found, servers, 'quiet rooms alone', figures, quiet, small(bench, 3, 1))
    found['notes'] = [f'The busy room: 100 members, {busy[5]} messages/s.']
    rows = {}
    for server in servers:
        other = bench.start_load(server, *busy, '--seconds', bench.options.seconds + warmup(bench) + 2)
        time.sleep(1)
        result = bench.load(server, *quiet)
        other.terminate()
        other.wait()
        other.found.close()
        if not result['steps']:
            found['notes'].append(f'{server.name} beside a busy room: the quiet connections could not be set up.')
            continue
        taken = figures(result)
        rows |= rows_of({server.name: [taken]})
        found['parts']['quiet rooms beside a busy one'] = rows
        bench.say(f'beside a busy room  {server.name}: p99 {taken["p99, ms"]:.1f} ms')
    first = servers[0].name
    judge(found, 'p99 of quiet rooms beside a busy one', rows[first]['p99, ms']['median'],
          latency_bound_ms(alone[first]['p99, ms']['median'], 1.5), unit='ms')


class Holders:
    """Load tools that hold idle connections, each in a process of its own: a process's descriptors would not do."""

    def __init__(self, bench, server):
        self.bench, self.server, self.tools, self.held = bench, server, [], 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for tool in self.tools:
            tool.terminate()
        for tool in self.tools:
            tool.wait()
            tool.stdout.close()
            tool.found.close()

    def hold(self, count):
        while self.held < count:
            group = []
            while self.held < count and len(group) < HOLD_AT_ONCE:
                size = min(HOLD_TOOL, count - self.held)
                group.append(self._start(size))
                self.held += size
            for tool in group:
                if not self._is_in(tool):
                    raise BenchError(f'a load tool ended with {tool.wait()} before its connections were in, or was too slow')
            self.bench.say(f'{self.held} connections are held')

    def _start(self, size):
        tool = self.bench.start_load(self.server, '--idle', '--connections', size, '--concurrency', 128, '--room-size', HOLD_ROOM, '--seconds', 1_000_000,
                                     '--first-source', 1 + len(self.tools) * HOLD_TOOL_SOURCES, text=subprocess.PIPE, show=False)
        self.tools.append(tool)
        return tool

    @staticmethod
    def _is_in(tool):
        timer = threading.Timer(HOLD_SIGN_IN_SECONDS, tool.terminate)
        timer.start()
        told = any(line.startswith('all connections are in') for line in tool.stdout)
        timer.cancel()
        return told

    def lost(self):
        return sum(1 for tool in self.tools if tool.poll() is not None)


def hold(bench, found):
    """The same thousand chat alone, and beside as many idle connections as were asked for, all in one process."""
    total = watch.machine_memory('MemTotal')
    if total < HOLD_MEMORY and not bench.options.quick:
        found['notes'] = [f'Skipped: this machine has {total / 2**30:.1f} GiB of memory, and {HOLD_MEMORY / 2**30:.0f} GiB are needed.']
        return bench.say(found['notes'][0])
    wanted = small(bench, bench.options.hold, 2000)
    count = min(wanted, watch.machine_memory('MemAvailable') // HOLD_BYTES_EACH)
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    cores = max(small(bench, 1, 4), math.ceil(count / (HOLD_FILL * (descriptors - HOLD_OTHERS))))
    server = bench.own(core_threads=cores, cores={bench.server_core}, settings={'JOURNAL_SEGMENT': '8M'})
    crowd = ('--connections', small(bench, 1000, 100), '--room-size', 100, '--rate', 100, '--seconds', bench.options.seconds, '--warmup', warmup(bench))
    slices = small(bench, 3, 1)

    def figures(result):
        return {key: value for key, value in step_figures(result).items() if key.startswith(('p', 'CPU')) or key == 'clean'}

    alone = paired(bench, found, [server], 'a thousand that chat, alone', figures, crowd, slices)[server.name]
    before = watch.anonymous_bytes(server.pids), watch.machine_memory('Slab')
    began = time.monotonic()
    with Holders(bench, server) as holders:
        holders.hold(count)
        took = time.monotonic() - began
        beside = paired(bench, found, [server], f'beside {count} idle connections', figures, crowd, slices)[server.name]
        idle_from = watch.cpu_seconds(server.pids), time.monotonic()
        time.sleep(small(bench, 30, 2))
        idle_cpu = (watch.cpu_seconds(server.pids) - idle_from[0]) / (time.monotonic() - idle_from[1])
        held = watch.metrics(server).get('ringline_connections', 0) - 1  # but the one that asks
        memory, slab = (now - then for now, then in zip((watch.anonymous_bytes(server.pids), watch.machine_memory('Slab')), before))
        if holders.lost():
            raise BenchError(f'{holders.lost()} load tools lost their connections')
    row = {'connections held': held, 'anonymous, bytes a connection': memory / count, 'kernel, bytes a connection, both ends': slab / count,
           'signed in within, s': took, 'a second': count / took, 'idle CPU, % of a core': idle_cpu * 100}
    found['parts'][f'{count} connections, each a user of his own in a room of {HOLD_ROOM}'] = rows_of({server.name: [row]})
    found['notes'] = [f'One process, {cores} core threads on one processor: {descriptors} descriptors are allowed a table, and each thread has its own. '
                      f'Server memory and kernel memory as they were before the {count} connections, subtracted.']
    if count < wanted:
        found['notes'].append(f'Bounded by memory: {count} of {wanted}.')
    judge(found, 'connections held', held, count, at_least=True)
    for key in ('p50, ms', 'p99, ms'):
        judge(found, f'{key[:3]} of the thousand beside them', beside[key]['median'], latency_bound_ms(alone[key]['median'], 1.5), unit='ms')


@dataclasses.dataclass
class Scenario:
    title: str
    about: str
    run: Callable


ALL = {
    'fanout': Scenario('Fan-out: 1,000 connections in rooms of 100', 'rooms of 100: CPU a delivery, highest rate, backlog of the store', fanout),
    'pairs': Scenario('Pairs: 5,000 rooms of two', '5,000 rooms of two: the same', pairs),
    'room10k': Scenario('One room of 10,000', 'one room of 10,000: the time from commit to the last send, with one core and two', room10k),
    'ack': Scenario('A send and its answer', 'a send and its answer: one connection, and a thousand', ack),
    'idle': Scenario('Idle connections', 'idle connections, signed in and in one room: memory', idle),
    'storm': Scenario('Everybody comes again', 'connect, sign in by token, join: server CPU', storm),
    'history': Scenario('Pages of history', 'pages of history: rate, CPU, latency', history),
    'resume': Scenario('Everybody resumes after a restart', 'all clients of a stopped server come back at once and get what they missed', resume),
    'fairness': Scenario('Quiet rooms beside a busy one', 'latency of quiet rooms while another is at its maximum', fairness),
    'hold': Scenario('Half a million connections in one process', 'idle connections as many as memory and --hold allow, and chat among a thousand', hold),
    'soak': Scenario('Soak', 'half an hour of chat with connections coming and going: memory, descriptors', soak),
}
