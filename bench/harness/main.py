"""Drives a comparison: starts the servers on one core, runs ringline-load on the other against each in turn, and reports medians and ratios.

All servers stay up for the whole run and have nothing to do in the others' slices. Only figures of one run are comparable: the same binary moves by a
quarter from minute to minute on a shared machine.
"""
import argparse
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import tempfile
import time

import machine
import report
from servers import ROOT, BenchError, start_peer, start_ringline

STORE_THREADS = ('store-write', 'store-read')
CLEAN_EXITS = (0, 1)  # of ringline-load: all well; something was lost or wrong


def arguments():
    parser = argparse.ArgumentParser(prog='scripts/bench', description='Ringline and its peers in turn on the same cores, and the ratios.',
                                     epilog='Results: build/bench/results.json and report.md. No time is asserted; the exit status is 1 if a delivery was '
                                            'lost, came twice or out of order.')
    parser.add_argument('--peers', default='socketio', help='profiles of bench/peers, or paths of others, with commas; empty: none (%(default)s)')
    parser.add_argument('--protocol', default='ringline', choices=['ringline', 'socketio'], help="which of Ringline's doors (%(default)s)")
    parser.add_argument('--compare', nargs=2, metavar=('A', 'B'), help='two ringline binaries in turn instead of peers')
    parser.add_argument('--pairs', type=int, default=3, help='alternating slices (%(default)s)')
    parser.add_argument('--seconds', type=float, default=10, help='of a slice (%(default)s)')
    parser.add_argument('--rate', type=float, default=500, help='messages a second in the slices (%(default)s)')
    parser.add_argument('--connections', type=int, default=1000)
    parser.add_argument('--room-size', type=int, default=100)
    parser.add_argument('--size', type=int, default=200, help='bytes of a text (%(default)s)')
    parser.add_argument('--p99-ms', type=float, default=100, help='bound of the search (%(default)s)')
    parser.add_argument('--step-seconds', type=float, default=5, help='of a step of the search (%(default)s)')
    parser.add_argument('--only', choices=['cpu', 'highest'], help='one half only')
    parser.add_argument('--quick', action='store_true', help='some seconds: shows that everything works, the figures mean nothing')
    parser.add_argument('--cores', default='0,1', help='of the servers and of the load tool (%(default)s)')
    parser.add_argument('--data', help='where the journal is kept meanwhile: on a disk (build/bench)')
    parser.add_argument('--out', default=str(ROOT / 'build' / 'bench'), help='where the results go (%(default)s)')
    parser.add_argument('--ringline', default=str(ROOT / 'build/bench-release/src/app/ringline'))
    parser.add_argument('--load', default=str(ROOT / 'build/bench-release/bench/ringline-load'))
    parser.add_argument('--no-build', action='store_true', help='take the binaries as they are')
    options = parser.parse_args()
    if options.quick:
        options.pairs, options.seconds, options.rate, options.connections, options.room_size, options.only = 1, 2, 100, 100, 20, 'cpu'
    return options


class Bench:
    def __init__(self, options):
        self.options = options
        self.out = pathlib.Path(options.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.data = options.data or options.out
        cores = [int(core) for core in options.cores.split(',')]
        usable = sorted(os.sched_getaffinity(0))
        if len(cores) != 2 or len(usable) < 2:
            raise BenchError('needs two cores: one for the servers, one for the load tool (--cores A,B)')
        self.server_core, self.load_core = cores
        self.servers = []
        self.clean = True

    def start(self):
        options, core = self.options, self.server_core
        log = lambda name: self.out / f'{name}.log'
        if machine.on_memory(self.data):
            raise BenchError(f'{self.data} is in memory: a journal there shows no sync. Give a folder on a disk with --data')
        if options.compare:
            for letter, binary in zip('AB', options.compare):
                self.servers.append(start_ringline(binary, f'{letter} {binary}', options.protocol, self.data, core, log(letter)))
            return
        self.servers.append(start_ringline(options.ringline, 'Ringline', options.protocol, self.data, core, log('ringline')))
        for peer in filter(None, options.peers.split(',')):
            self.servers.append(start_peer(peer, core, log(pathlib.Path(peer).stem)))

    def load(self, server, *flags):
        """One run of the load tool: its JSON."""
        with tempfile.NamedTemporaryFile(suffix='.json') as found:
            command = ['taskset', '-c', str(self.load_core), self.options.load, '--busy-poll', '--port', str(server.port), '--protocol', server.protocol,
                       '--server-pid', str(server.pid), '--connections', str(self.options.connections), '--room-size', str(self.options.room_size),
                       '--size', str(self.options.size), '--json', found.name, *flags]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            text = pathlib.Path(found.name).read_text(encoding='utf-8')
        if done.returncode not in CLEAN_EXITS or not text:
            raise BenchError(f'{shlex.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}')
        result = json.loads(text)
        if result['interrupted']:
            raise KeyboardInterrupt
        if result['failure']:
            print(f'{server.name}: {result["failure"]}', file=sys.stderr)
        return result

    def cpu(self, results):
        """CPU a delivery at one rate, in alternating slices."""
        options = self.options
        slices = {server.name: [] for server in self.servers}
        flushes = []
        for pair in range(options.pairs):
            for server in self.servers if pair % 2 == 0 else reversed(self.servers):
                say(f'pair {pair + 1} of {options.pairs}: {server.name} at {options.rate:g} messages/s')
                before, began = machine.flushes(self.data), time.monotonic()
                result = self.load(server, '--rate', str(options.rate), '--seconds', str(options.seconds), '--warmup', '1' if options.quick else '2')
                if server is self.servers[0] and before is not None:
                    flushes.append((machine.flushes(self.data) - before) / (time.monotonic() - began))
                self.clean &= result['clean']
                if result['steps']:
                    slices[server.name].append(result['steps'][0])
                    print(f'  {line_of(result["steps"][0])}', file=sys.stderr)
                self.summarise_cpu(results, slices, flushes)

    def summarise_cpu(self, results, slices, flushes):
        """What there is so far: an interrupted run reports it."""
        whole = min(len(steps) for steps in slices.values())
        if whole == 0:
            return
        first = self.servers[0].name
        servers = {}
        for name, steps in slices.items():
            steps = steps[:whole]
            servers[name] = {
                'microsPerDelivery': report.spread([step['cpuMicrosPerDelivery'] for step in steps]),
                'microsPerDeliveryWithoutStore': report.spread([without_store(step) for step in steps]),
                'p50Ms': report.spread([step['latency']['p50Ms'] for step in steps]),
                'p99Ms': report.spread([step['latency']['p99Ms'] for step in steps]),
                'clean': all(step['clean'] for step in steps),
                'steps': steps,
            }
        mine = servers[first]['microsPerDelivery']['values']
        ratios = {f'of {name}': report.spread([own / other for own, other in zip(mine, found['microsPerDelivery']['values']) if other > 0] or [0])
                  for name, found in servers.items() if name != first}
        results['cpu'] = {'pairs': whole, 'servers': servers, 'ratios': ratios,
                          'flushesPerSecond': report.spread(flushes)['median'] if flushes else None}

    def highest(self, results):
        """The highest rate held, one search each."""
        options = self.options
        found = {'servers': {}, 'ratios': {}, 'searches': {}}
        for server in self.servers:
            say(f'{server.name}: the highest rate with p99 below {options.p99_ms:g} ms')
            result = self.load(server, '--search', '--p99-ms', str(options.p99_ms), '--seconds', str(options.step_seconds), '--warmup', '1',
                               '--rate', str(options.rate))
            self.clean &= result['clean']
            found['servers'][server.name] = result.get('highestRate', 0)
            found['searches'][server.name] = result
            first = found['servers'][self.servers[0].name]
            found['ratios'] = {name: first / rate for name, rate in found['servers'].items() if name != self.servers[0].name and rate > 0}
            results['highest'] = found
            print(f'  {found["servers"][server.name]:.0f} messages/s', file=sys.stderr)

    def stop(self):
        for server in self.servers:
            server.stop()


def say(text):
    print(f'\033[1m== {text}\033[0m' if sys.stderr.isatty() else f'== {text}', file=sys.stderr, flush=True)


def without_store(step):
    server, deliveries = step['server'], step['measured']['deliveries']
    if not server or deliveries == 0:
        return 0
    store = sum(seconds for name, seconds in server['threads'].items() if name in STORE_THREADS)
    return (server['cpuSeconds'] - store) * 1e6 / deliveries


def line_of(step):
    return (f'{step["cpuMicrosPerDelivery"]:.2f} µs a delivery, p50 {step["latency"]["p50Ms"]:.1f} ms, p99 {step["latency"]["p99Ms"]:.1f} ms, '
            f'{"all once, in order" if step["clean"] else "NOT CLEAN"}')


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    bench = Bench(options)
    results = {
        'command': shlex.join(['scripts/bench', *sys.argv[1:]]),
        'time': time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime()),
        'machine': machine.describe(),
        'disk': {'fileSystem': machine.file_system(bench.data), 'commitMicros': machine.median_commit_us(bench.data)},
        'plan': {'serverCore': bench.server_core, 'loadCore': bench.load_core, 'connections': options.connections, 'roomSize': options.room_size,
                 'size': options.size, 'rate': options.rate, 'seconds': options.seconds, 'p99Ms': options.p99_ms},
    }
    try:
        bench.start()
        results['first'] = bench.servers[0].name
        if options.only != 'highest':
            bench.cpu(results)
        if options.only != 'cpu':
            bench.highest(results)
    except KeyboardInterrupt:
        results['interrupted'] = True
    finally:
        bench.stop()
    report.write(results, bench.out)
    print(report.markdown(results))
    if results.get('interrupted'):
        return 130
    return 0 if bench.clean else 1


if __name__ == '__main__':
    try:
        sys.exit(main())
    except BenchError as error:
        print(f'bench: {error}', file=sys.stderr)
        sys.exit(2)
