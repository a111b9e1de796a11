"""What the figures were measured on: processor, kernel, and the disk that the journal is on."""
import contextlib
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

COMMIT_BYTES = 4096
COMMITS = 300
MEMORY_FILE_SYSTEMS = {'tmpfs', 'ramfs'}


def describe():
    """Facts for the head of the report."""
    model = 'unknown'
    for line in pathlib.Path('/proc/cpuinfo').read_text().splitlines():
        if line.startswith('model name'):
            model = line.split(':', 1)[1].strip()
            break
    memory_kib = int(pathlib.Path('/proc/meminfo').read_text().split()[1])
    return {
        'processor': model,
        'cores': os.cpu_count(),
        'memoryGiB': round(memory_kib / 1024 / 1024, 1),
        'kernel': platform.release(),
        'system': next((line.split('=', 1)[1].strip('"') for line in pathlib.Path('/etc/os-release').read_text().splitlines()
                        if line.startswith('PRETTY_NAME=')), 'unknown'),
    }


def file_system(folder):
    return subprocess.run(['findmnt', '-nro', 'FSTYPE', '--target', folder], check=True, capture_output=True, text=True).stdout.split()[-1]


def on_memory(folder):
    """A journal in memory would show no sync at all."""
    return file_system(folder) in MEMORY_FILE_SYSTEMS


def median_commit_us(folder):
    """Median of writing and syncing 4 KiB into a file that is there already: the least that a durable message costs on this disk."""
    path = pathlib.Path(folder) / 'commit-probe'
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, bytes(COMMIT_BYTES * COMMITS))
        os.fsync(descriptor)
        took = []
        for i in range(COMMITS):
            start = time.perf_counter()
            os.pwrite(descriptor, b'x' * COMMIT_BYTES, i * COMMIT_BYTES)
            os.fdatasync(descriptor)
            took.append((time.perf_counter() - start) * 1e6)
        return statistics.median(took)
    finally:
        os.close(descriptor)
        path.unlink()


def flushes(folder):
    """Flushes that the folder's disk has completed since boot; None where the kernel does not say."""
    device = os.stat(folder).st_dev
    wanted = f'{os.major(device)} {os.minor(device)}'
    for line in pathlib.Path('/proc/diskstats').read_text().splitlines():
        fields = line.split()
        if ' '.join(fields[:2]) == wanted and len(fields) > 18:
            return int(fields[18])
    return None


@contextlib.contextmanager
def kept_awake(core):
    """Keeps a core from halting, by a process that runs only when nothing else wants to (SCHED_IDLE). A core that halts between messages makes each of them
    dearer by what waking it costs, which on a virtual machine is up to half of all, and changes from minute to minute. It yields, or it would have a sixth of
    what the store's thread (nice 19) could have."""
    def prepare():
        os.sched_setaffinity(0, {core})
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

    spinner = subprocess.Popen([sys.executable, '-c', 'import os\nwhile True: os.sched_yield()'], preexec_fn=prepare)
    try:
        yield
    finally:
        spinner.kill()
        spinner.wait()
