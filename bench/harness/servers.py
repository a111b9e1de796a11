"""The servers that are measured: started on one core, stopped at the end, whatever happens.

A peer is a profile, bench/peers/NAME.json: name, about, directory, install (a command, run if `installed` is missing), start (a command), environment and
protocol (of ringline-load). {port} in start and environment is a free port.
"""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = ROOT / 'bench' / 'peers'
START_SECONDS = 20
STOP_SECONDS = 15


class BenchError(Exception):
    """Something that the reader has to know and put right."""


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


class Server:
    """A running server. `core` None: wherever the scheduler puts it."""

    def __init__(self, name, about, protocol, command, environment, cwd, core, log):
        self.name, self.about, self.protocol = name, about, protocol
        self.port = free_port()
        self.data_dir = None
        fill = lambda text: text.replace('{port}', str(self.port))
        with open(log, 'w', encoding='utf-8') as output:
            self.process = subprocess.Popen(
                [fill(word) for word in command], cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env={**os.environ, **{key: fill(value) for key, value in environment.items()}}, start_new_session=True,
                preexec_fn=(lambda: os.sched_setaffinity(0, {core})) if core is not None else None)
        self.log = log
        self._wait()

    def _wait(self):
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(('127.0.0.1', self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise BenchError(f'{self.name} did not start; the end of {self.log}:\n' + pathlib.Path(self.log).read_text(encoding='utf-8')[-1500:])

    @property
    def pid(self):
        return self.process.pid

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.data_dir:
            shutil.rmtree(self.data_dir, ignore_errors=True)


def start_ringline(binary, name, protocol, data, core, log, environment=None):
    """On an empty data folder below `data`, one core, without rate limits."""
    folder = tempfile.mkdtemp(prefix='ringline-', dir=data)
    settings = {'HOST': '127.0.0.1', 'PORT': '{port}', 'DATA_DIR': folder, 'CORES': '1', 'RATE_LIMIT_GUESTS': '0', 'RATE_LIMIT_MESSAGES': '0',
                **(environment or {})}
    server = Server(name, 'durable, one core', protocol, [str(binary)], settings, ROOT, core, log)
    server.data_dir = folder
    return server


def load_profile(name):
    path = pathlib.Path(name) if name.endswith('.json') else PEERS / f'{name}.json'
    if not path.is_file():
        known = ', '.join(sorted(found.stem for found in PEERS.glob('*.json')))
        raise BenchError(f'no peer {name}: there are {known}, or give the path of a profile')
    return json.loads(path.read_text(encoding='utf-8')), path.parent


def start_peer(name, core, log):
    profile, base = load_profile(name)
    folder = base / profile.get('directory', '.')
    if 'install' in profile and not (folder / profile.get('installed', '.missing')).exists():
        done = subprocess.run(profile['install'], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f'{profile["name"]}: {" ".join(profile["install"])} failed:\n{done.stdout[-800:]}{done.stderr[-800:]}')
    return Server(profile['name'], profile.get('about', ''), profile['protocol'], profile['start'], profile.get('environment', {}), folder, core, log)
