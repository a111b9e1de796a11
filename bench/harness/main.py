"""Drives a comparison: starts the servers on one core, runs ringline-load on the other against each in turn, and reports medians and ratios.

All servers of a scenario stay up while it runs and have nothing to do in the others' slices. Only figures of one run are comparable: the same binary
moves by a quarter from minute to minute on a shared machine.
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

import database
import hosts
import machine
import outage
import report
import scenarios
from servers import ROOT, BenchError, load_profile, only_echoes, start_peer, start_ringline

scenarios.ALL['database'] = scenarios.Scenario(
    'PostgreSQL: ingest, history, search', 'ingest into PostgreSQL, and its answers: scripts/services run postgres -- scripts/bench …',
    database.database)
scenarios.ALL['outage'] = scenarios.Scenario(
    'PostgreSQL away for a minute', 'PostgreSQL away while people chat: latency, and when all is stored; likewise with scripts/services', outage.outage)
scenarios.ALL['hosts'] = scenarios.Scenario(
    'Two hosts on one Redis', "the way to members at another host, and what Redis does for a message: scripts/services run postgres redis -- …", hosts.hosts)
OF_SERVICES = ('database', 'outage', 'hosts')
CLEAN_EXITS = (0, 1)  # of ringline-load: all well; something was lost or wrong


def arguments():
    about = '\n'.join(f'  {name:<10}{found.about}' for name, found in scenarios.ALL.items())
    parser = argparse.ArgumentParser(
        prog='scripts/bench', formatter_class=argparse.RawDescriptionHelpFormatter,
        description='Ringline and its peers in turn on the same cores, and the ratios.',
        epilog=f'Scenarios:\n{about}\n\nPeers are profiles: bench/peers/README.md says how to add one of your own.\n'
               'Results: build/bench/report.html, report.md and results.json. Bounds are printed beside the figures and not asserted; the exit status is 1\n'
               'if a delivery was lost, came twice or out of order. An interrupted run reports what it has.')
    parser.add_argument('--scenario', default='fanout,pairs,room10k,ack,idle,storm,history,resume,fairness,hold',
                        help='with commas, or all but database, outage and hosts (default: %(default)s)')
    parser.add_argument('--peers', default='socketio', help='profiles of bench/peers, or paths of others, with commas; empty: none (%(default)s)')
    parser.add_argument('--protocol', default='ringline', choices=['ringline', 'socketio'], help="which of Ringline's doors (%(default)s)")
    parser.add_argument('--compare', nargs=2, metavar=('A', 'B'), help='two ringline binaries in turn instead of peers')
    parser.add_argument('--pairs', type=int, default=7, help='alternating slices (%(default)s)')
    parser.add_argument('--seconds', type=float, default=20, help='of a slice (%(default)s)')
    parser.add_argument('--searches', type=int, default=3, help='of the highest rate, alternating (%(default)s)')
    parser.add_argument('--step-seconds', type=float, default=5, help='of a step of a search (%(default)s)')
    parser.add_argument('--p99-ms', type=float, default=100, help='bound of a search (%(default)s)')
    parser.add_argument('--rate', type=float, default=1000, help='messages a second in the slices of fanout (%(default)s)')
    parser.add_argument('--hold', type=int, default=500_000, help='connections of the scenario hold (%(default)s)')
    parser.add_argument('--soak-seconds', type=float, default=1800, help='(%(default)s)')
    parser.add_argument('--size', type=int, default=200, help='bytes of a text (%(default)s)')
    parser.add_argument('--only', choices=['cpu', 'highest'], help='of fanout and pairs, one half')
    parser.add_argument('--quick', action='store_true', help='small and short: shows that everything works, the figures mean nothing')
    parser.add_argument('--cores', default='0,1', help='of the servers and of the load tool (%(default)s)')
    parser.add_argument('--data', help='where the journal is kept meanwhile: on a disk (build/bench)')
    parser.add_argument('--out', default=str(ROOT / 'build' / 'bench'), help='where the results go (%(default)s)')
    parser.add_argument('--ringline', default=str(ROOT / 'build/bench-release/src/app/ringline'))
    parser.add_argument('--load', default=str(ROOT / 'build/bench-release/bench/ringline-load'))
    parser.add_argument('--no-build', action='store_true', help='take the binaries as they are')
    options = parser.parse_args()
    if options.quick:
        options.pairs, options.seconds, options.searches, options.step_seconds, options.rate, options.soak_seconds = 1, 1.5, 1, 0.5, 200, 4
    options.scenario = [name for name in scenarios.ALL if name not in OF_SERVICES] if options.scenario == 'all' else [name for name in options.scenario.split(',') if name]
    unknown = [name for name in options.scenario if name not in scenarios.ALL]
    if unknown:
        parser.error(f'no scenario {unknown[0]}: there are {", ".join(scenarios.ALL)}')
    return options


class Bench:
    """What a scenario has to work with: the options, servers to start, the load tool, and the results so far."""

    def __init__(self, options):
        self.options = options
        self.out = pathlib.Path(options.out).resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        self.data = options.data or str(self.out)
        cores = [int(core) for core in options.cores.split(',')]
        if len(cores) != 2 or len(os.sched_getaffinity(0)) < 2:
            raise BenchError('needs two cores: one for the servers, one for the load tool (--cores A,B)')
        self.server_core, self.load_core = cores
        if machine.on_memory(self.data):
            raise BenchError(f'{self.data} is in memory: a journal there shows no sync. Give a folder on a disk with --data')
        self.profiles = [] if options.compare else [load_profile(peer) for peer in options.peers.split(',') if peer]
        self.servers = []
        self.clean = True
        self.began = time.monotonic()

    def log(self, name):
        return self.out / (''.join(c if c.isalnum() else '-' for c in name) + '.log')

    def own(self, name='Ringline', core_threads=1, binary=None, cores=None, settings=None):
        cores = cores or ({self.server_core} if core_threads == 1 else {self.server_core, self.load_core})
        protocol = self.options.protocol
        server = start_ringline(binary or self.options.ringline, name, protocol, self.data, cores, self.log(name), core_threads, settings)
        self.servers.append(server)
        return server

    def ours(self):
        """Ringline, or the two builds that are compared."""
        if not self.options.compare:
            return [self.own()]
        return [self.own(f'{letter} {binary}', 1, binary) for letter, binary in zip('AB', self.options.compare)]

    def peers(self, echoing=False):
        found = []
        for profile in self.profiles:
            if only_echoes(profile) and not echoing:
                continue
            found.append(start_peer(profile, self.data, {self.server_core}, self.log(profile['name'])))
            self.servers.append(found[-1])
        return found

    def stop(self):
        while self.servers:
            self.servers.pop().stop()

    def command(self, server, *flags):
        words = ['taskset', '-c', str(self.load_core), self.options.load, '--port', str(server.port), '--size', str(self.options.size)]
        words += ['--profile', server.profile] if server.profile else ['--protocol', server.protocol]
        for pid in server.pids:
            words += ['--server-pid', str(pid)]
        return [*words, *(str(flag) for flag in flags)]

    def start_load(self, server, *flags, text=subprocess.DEVNULL, show=True, commands=subprocess.DEVNULL):
        """The load tool, running; its JSON is in `.found` when it has ended. `text`, `commands`: its standard output and input."""
        file = tempfile.NamedTemporaryFile(suffix='.json')
        process = subprocess.Popen([*self.command(server, *flags), '--json', file.name], stdin=commands, stdout=text, text=True,
                                   stderr=None if show and sys.stderr.isatty() else subprocess.DEVNULL)
        process.found = file
        return process

    def finish_load(self, process, server):
        try:
            process.wait()
        except KeyboardInterrupt:
            process.terminate()  # where the terminal has not told it already
            process.wait()
            raise
        with process.found:
            text = pathlib.Path(process.found.name).read_text(encoding='utf-8')
        if process.returncode not in CLEAN_EXITS or not text:
            raise BenchError(f'{shlex.join(process.args)} ended with {process.returncode}')
        result = json.loads(text)
        if result['interrupted']:
            raise KeyboardInterrupt
        if result['failure']:
            self.say(f'{server.name}: {result["failure"]}')
        self.clean &= result['clean'] or bool(result['options']['mode'] == 'search')
        return result

    def load(self, server, *flags):
        """One run of the load tool: its JSON."""
        return self.finish_load(self.start_load(server, *flags), server)

    def say(self, text):
        line = f'{time.monotonic() - self.began:6.0f} s  {text}'
        print(f'\033[1m{line}\033[0m' if sys.stderr.isatty() else line, file=sys.stderr, flush=True)


def run(bench, results):
    for name in bench.options.scenario:
        found = results['scenarios'][name] = {'title': scenarios.ALL[name].title, 'about': scenarios.ALL[name].about}
        bench.say(f'== {name}: {scenarios.ALL[name].title}')
        flushes = machine.flushes(bench.data), time.monotonic()
        try:
            scenarios.ALL[name].run(bench, found)
        except BenchError as error:  # the others are measured all the same
            found['failure'] = str(error)
            bench.say(f'{name} FAILED: {error}')
            bench.clean = False
        finally:
            if flushes[0] is not None:
                found['flushesPerSecond'] = (machine.flushes(bench.data) - flushes[0]) / (time.monotonic() - flushes[1])
            if bench.options.quick:
                found.pop('judged', None)
            bench.stop()
            report.write(results, bench.out)


def main():
    options = arguments()
    for number in (signal.SIGINT, signal.SIGTERM):  # also where the shell had the first one ignored
        signal.signal(number, signal.default_int_handler)
    bench = Bench(options)
    os.sched_setaffinity(0, {bench.load_core})
    results = {
        'command': shlex.join(['scripts/bench', *sys.argv[1:]]),
        'time': time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime()),
        'machine': machine.describe(),
        'disk': {'fileSystem': machine.file_system(bench.data), 'commitMicros': machine.median_commit_us(bench.data)},
        'plan': {'serverCore': bench.server_core, 'loadCore': bench.load_core, 'size': options.size, 'pairs': options.pairs,
                 'seconds': options.seconds, 'p99Ms': options.p99_ms, 'quick': options.quick},
        'peers': {profile['name']: profile.get('about', '') for profile in bench.profiles},
        'scenarios': {},
    }
    try:
        with machine.kept_awake(bench.server_core):
            run(bench, results)
    except KeyboardInterrupt:
        results['interrupted'] = True
    report.write(results, bench.out)
    print(report.markdown(results))
    print(f'{bench.out / "report.html"}', file=sys.stderr)
    if results.get('interrupted'):
        return 130
    return 0 if bench.clean else 1


if __name__ == '__main__':
    try:
        sys.exit(main())
    except BenchError as error:
        print(f'bench: {error}', file=sys.stderr)
        sys.exit(2)
