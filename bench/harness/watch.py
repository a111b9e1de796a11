"""Watches running servers once a second: memory and descriptors from /proc, and what Ringline says of itself."""
import os
import pathlib
import re
import threading
import time
import urllib.request

EVERY_SECONDS = 1
TIMEOUT_SECONDS = 10


def resident_mib(pids):
    total = 0
    for pid in pids:
        try:
            found = re.search(r'VmRSS:\s+(\d+)', pathlib.Path(f'/proc/{pid}/status').read_text())
        except OSError:
            continue
        total += int(found.group(1)) if found else 0
    return total / 1024


def descriptors(pids):
    """Of all tables: Ringline's cores each have one of their own, the other threads share the process's."""
    count = 0
    for pid in pids:
        tables = [f'/proc/{pid}/fd']
        for thread in pathlib.Path(f'/proc/{pid}/task').iterdir():
            if (thread / 'comm').read_text().startswith('core-'):
                tables.append(f'{thread}/fd')
        count += sum(len(os.listdir(table)) for table in tables)
    return count


def anonymous_bytes(pids):
    """What the processes have that is not a file's, as the heap is."""
    total = 0
    for pid in pids:
        text = pathlib.Path(f'/proc/{pid}/smaps_rollup').read_text()
        total += sum(int(kib) * 1024 for kib in re.findall(r'Anonymous:\s+(\d+)', text))
    return total


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        fields = pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
    return total


def machine_memory(name):
    """Bytes, by the names of /proc/meminfo."""
    return int(re.search(rf'^{name}:\s+(\d+)', pathlib.Path('/proc/meminfo').read_text(), re.MULTILINE).group(1)) * 1024


def metrics(server):
    """Ringline's own counters, by name; empty where the server has none."""
    if server.protocol is None or server.protocol == 'socketio-peer':
        return {}
    with urllib.request.urlopen(f'http://127.0.0.1:{server.port}/metrics', timeout=TIMEOUT_SECONDS) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(' ') for line in lines if line and line[0] != '#')}


def lag(server):
    return metrics(server)['ringline_store_lag_events']


def stored(server):
    return metrics(server)['ringline_store_events_total']


class Watch:
    """Memory over time, in a thread of its own, while the block runs."""

    def __init__(self, servers):
        self.servers = servers
        self.series = {server.name: [] for server in servers}
        self.began = time.monotonic()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

    def _run(self):
        while not self.done.is_set():
            for server in self.servers:
                if server.pids:
                    self.series[server.name].append((round(time.monotonic() - self.began, 1), round(resident_mib(server.pids), 2)))
            self.done.wait(EVERY_SECONDS)


def slope_mib_a_minute(series, skip):
    """Least squares, without the first `skip` seconds."""
    points = [(t / 60, mib) for t, mib in series if t >= skip]
    if len(points) < 3:
        return 0.0
    mean_t = sum(t for t, _ in points) / len(points)
    mean_m = sum(m for _, m in points) / len(points)
    spread = sum((t - mean_t) ** 2 for t, _ in points)
    return sum((t - mean_t) * (m - mean_m) for t, m in points) / spread if spread else 0.0
