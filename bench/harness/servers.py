"""The servers that are measured: started on given cores, stopped at the end, whatever happens. What a peer's profile says: bench/peers/README.md."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = ROOT / 'bench' / 'peers'
START_SECONDS = 20
STOP_SECONDS = 60


class BenchError(Exception):
    """Something that the reader has to know and put right."""


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def filled(text, blanks):
    for name, value in blanks.items():
        text = text.replace('{' + name + '}', str(value))
    return text


class Server:
    """A running server. `plan`: name, about, protocol, profile (a file for ringline-load, or None), start, environment, beside, cwd."""

    def __init__(self, plan, cores, log, folder=None, own_folder=True):
        self.plan, self.cores, self.log = plan, cores, log
        self.name, self.about, self.protocol, self.profile = plan['name'], plan.get('about', ''), plan.get('protocol'), plan.get('profile')
        self.folder, self.own_folder = folder, own_folder
        self.blanks = {'port': free_port(), 'port2': free_port(), 'dir': folder or ''}
        self.processes = []
        self._start()

    @property
    def port(self):
        return self.blanks['port']

    @property
    def pids(self):
        return [process.pid for process in self.processes]

    def _start(self):
        if self.plan.get('beside'):
            self._run(self.plan['beside'])
            self._wait(self.blanks['port2'])
        self._run(self.plan['start'])
        self._wait(self.port)

    def _run(self, command):
        with open(self.log, 'a', encoding='utf-8') as output:
            self.processes.append(subprocess.Popen(
                [filled(word, self.blanks) for word in command], cwd=self.plan.get('cwd'), stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, **{key: filled(value, self.blanks) for key, value in self.plan.get('environment', {}).items()}},
                preexec_fn=lambda: os.sched_setaffinity(0, self.cores)))

    def _wait(self, port):
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and all(process.poll() is None for process in self.processes):
            try:
                socket.create_connection(('127.0.0.1', port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.01)
        self.stop()
        raise BenchError(f'{self.name} did not start; the end of {self.log}:\n' + pathlib.Path(self.log).read_text(encoding='utf-8')[-1500:])

    def restart(self, between=lambda: None):
        """Stops it as an operator would, and starts it on what it has kept, `between` done meanwhile. Seconds that the start took."""
        self._end()
        between()
        began = time.monotonic()
        self._start()
        return time.monotonic() - began

    def _end(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []

    def stop(self):
        self._end()
        if self.folder and self.own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def start_ringline(binary, name, protocol, data, cores, log, core_threads=1, more=None):
    """On an empty data folder below `data`, without rate limits. `more`: further settings."""
    settings = {'HOST': '127.0.0.1', 'PORT': '{port}', 'DATA_DIR': '{dir}', 'CORES': str(core_threads), 'RATE_LIMIT_GUESTS': '0',
                'RATE_LIMIT_MESSAGES': '0', **(more or {})}
    plan = {'name': name, 'about': f'durable, {core_threads} core{"s" if core_threads > 1 else ""}', 'protocol': protocol, 'start': [str(binary)],
            'environment': settings, 'cwd': ROOT}
    return Server(plan, cores, log, tempfile.mkdtemp(prefix='ringline-', dir=data))


def load_profile(name):
    path = pathlib.Path(name) if name.endswith('.json') else PEERS / f'{name}.json'
    if not path.is_file():
        known = ', '.join(sorted(found.stem for found in PEERS.glob('*.json')))
        raise BenchError(f'no peer {name}: there are {known}, or give the path of a profile')
    profile = json.loads(path.read_text(encoding='utf-8'))
    profile['cwd'] = (path.parent / profile.get('directory', '.')).resolve()
    profile['profile'] = str(path) if 'dialect' in profile else None
    return profile


def only_echoes(profile):
    """Its answer is all that it gives: it is compared in `ack` alone."""
    return profile.get('dialect', {}).get('echo', False)


def start_peer(profile, data, cores, log):
    folder = profile['cwd']
    missing = [package for package in profile.get('packages', []) if not installed(package)]
    if missing:
        raise BenchError(f'{profile["name"]}: these packages are missing: apt-get install --no-install-recommends {" ".join(missing)}')
    if 'install' in profile and not (folder / profile.get('installed', '.missing')).exists():
        done = subprocess.run(profile['install'], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f'{profile["name"]}: {" ".join(profile["install"])} failed:\n{done.stdout[-800:]}{done.stderr[-800:]}')
    own = pathlib.Path(tempfile.mkdtemp(prefix='peer-', dir=data)).resolve()
    return WithFiles(profile, cores, log, own)


class WithFiles(Server):
    """Its files are templates of the profile's folder, filled into a folder of this run."""

    def _start(self):
        for target, source in self.plan.get('files', {}).items():
            text = (self.plan['cwd'] / source).read_text(encoding='utf-8')
            (self.folder / target).write_text(filled(text, self.blanks), encoding='utf-8')
        super()._start()


def installed(package):
    found = subprocess.run(['dpkg-query', '-W', '-f', '${Status}', package], capture_output=True, text=True, check=False)
    return found.stdout == 'install ok installed'
