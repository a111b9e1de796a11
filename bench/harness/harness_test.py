"""What the harness makes of figures, without servers: spreads, bounds, slopes, and a report that is well-formed whatever is missing."""
import os
import pathlib
import sys
import tempfile
import types
import unittest
import unittest.mock
import xml.etree.ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import hosts  # noqa: E402
import plots  # noqa: E402
import report  # noqa: E402
import scenarios  # noqa: E402
import servers  # noqa: E402
import watch  # noqa: E402


def results(found, **more):
    return {'command': 'scripts/bench', 'time': 'now', 'peers': {'a <b>': 'c'}, 'scenarios': {'x': found},
            'machine': {'processor': 'p', 'cores': 2, 'memoryGiB': 1, 'kernel': 'k', 'system': 's'}, 'disk': {'fileSystem': 'ext4', 'commitMicros': 1},
            'plan': {'serverCore': 0, 'loadCore': 1, 'size': 200, 'pairs': 7, 'seconds': 20, 'p99Ms': 100, 'quick': False}, **more}


class Rules(unittest.TestCase):
    def test_the_ratio_of_each_pair_is_taken_and_then_the_median(self):
        rows = scenarios.rows_of({'a': [{'t': 1}, {'t': 20}, {'t': 3}], 'b': [{'t': 2}, {'t': 10}, {'t': 3}]})
        self.assertEqual(scenarios.ratios(rows, 't', 'a', 'b'), {'median': 1, 'low': 0.5, 'high': 2, 'values': [0.5, 2, 1]})

    def test_a_latency_bound_is_the_larger_one(self):
        self.assertEqual(scenarios.latency_bound_ms(2, 1.5), 12)
        self.assertEqual(scenarios.latency_bound_ms(100, 1.5), 150)

    def test_a_bound_is_met_from_its_side(self):
        found = {}
        scenarios.judge(found, 'low', 1, 2)
        scenarios.judge(found, 'high', scenarios.spread([1, 1, 9]), 2, at_least=True)
        self.assertEqual([judged['met'] for judged in found['judged']], [True, False])

    def test_a_slice_that_is_not_clean_marks_the_row(self):
        rows = scenarios.rows_of({'a': [{'t': 1, 'clean': True}, {'t': 1, 'clean': False}], 'b': [{'t': 1}, {'t': 1}]})
        self.assertFalse(rows['a']['clean'])
        self.assertNotIn('clean', rows['b'])

    def test_the_slope_leaves_out_the_warm_up(self):
        series = [(t, 100 if t < 60 else 10 + t / 60) for t in range(0, 600, 10)]
        self.assertAlmostEqual(watch.slope_mib_a_minute(series, 60), 1)
        self.assertEqual(watch.slope_mib_a_minute([], 60), 0)

    def test_cpu_without_the_store_thread(self):
        step = {'server': {'cpuSeconds': 3, 'threads': {'core-0': 2, 'store-write': 1}}, 'measured': {'deliveries': 1_000_000}}
        self.assertEqual((scenarios.cpu_us(step, 'deliveries'), scenarios.cpu_us(step, 'deliveries', True)), (3, 2))
        self.assertEqual(scenarios.cpu_us({'server': None, 'measured': {'deliveries': 1}}, 'deliveries'), 0)


class Reports(unittest.TestCase):
    def check(self, found, **more):
        with tempfile.TemporaryDirectory() as folder:
            report.write(results(found, **more), pathlib.Path(folder))
            page = (pathlib.Path(folder) / 'report.html').read_text(encoding='utf-8')
            text = (pathlib.Path(folder) / 'report.md').read_text(encoding='utf-8')
        for start in [i for i in range(len(page)) if page.startswith('<svg', i)]:
            xml.etree.ElementTree.fromstring(page[start:page.index('</svg>', start) + 6])
        return page, text

    def test_nothing_measured_yet(self):
        page, text = self.check({'title': 'T', 'about': ''}, interrupted=True)
        self.assertIn('Interrupted', page)
        self.assertIn('Interrupted', text)

    def test_figures_bounds_and_plots(self):
        row = {key: scenarios.spread([1.5, 2, 2500]) for key in ('messages/s', 'p50, ms', 'p90, ms', 'p99, ms', 'p99.9, ms', 'without the store thread')}
        found = {'title': 'T <&>', 'about': '', 'parts': {'highest rate': {'A': dict(row, clean=False), 'B': {'messages/s': scenarios.spread([0])}}},
                 'memory': {'A': [(0, 1), (1, 2), (2, 3)]}, 'notes': ['n'], 'failure': 'why'}
        scenarios.judge(found, 'what', 3, 2, unit='ms')
        page, text = self.check(found)
        for part in ('T &lt;&amp;&gt;', 'NOT CLEAN', 'NOT MET', 'at most 2 ms', 'FAILED: why', '<svg'):
            self.assertIn(part, page)
        self.assertIn('| A | 2 (1.50-2,500) |', text)
        self.assertIn('| B | 0 | - |', text)

    def test_ticks_are_round(self):
        self.assertEqual(plots.ticks(10), [0, 2.5, 5, 7.5, 10])
        self.assertEqual(plots.ticks(0), [0])


class Machine(unittest.TestCase):
    def test_what_a_process_uses_is_read(self):
        own = [os.getpid()]
        self.assertGreater(watch.anonymous_bytes(own), 2**20)
        self.assertGreater(watch.cpu_seconds(own), 0)
        self.assertGreaterEqual(watch.descriptors(own), 3)
        self.assertGreater(watch.machine_memory('MemTotal'), watch.machine_memory('Slab'))

    def test_too_little_memory_to_hold_is_said(self):
        bench = types.SimpleNamespace(options=types.SimpleNamespace(quick=False), say=lambda text: None)
        found = {}
        with unittest.mock.patch.object(watch, 'machine_memory', return_value=4 * 2**30):
            scenarios.hold(bench, found)
        self.assertEqual(found['notes'], ['Skipped: this machine has 4.0 GiB of memory, and 8 GiB are needed.'])


class Hosts(unittest.TestCase):
    def test_calls_of_clients_are_told_from_what_functions_run(self):
        said = ['OK\n', '9.5 [0 127.0.0.1:1] "FCALL" "ringline_append" "3" "room:{1}:state"\n', '10.5 [0 127.0.0.1:1] "fcall" "ringline_append" "3"\n',
                '10.6 [0 lua] "HMGET" "room:{1}:state" "epoch"\n', '10.7 [0 unix:/x] "PING"\n', '10.8 [0 [::1]:9] "FCALL" "ringline_claim" "0"\n',
                '20.1 [0 127.0.0.1:1] "PING"\n']
        self.assertEqual(hosts.client_calls_in(said, 10, 20), {'FCALL ringline_append': 1, 'PING': 1, 'FCALL ringline_claim': 1})


class Profiles(unittest.TestCase):
    def test_all_that_are_here_can_be_read(self):
        for path in servers.PEERS.glob('*.json'):
            profile = servers.load_profile(path.stem)
            self.assertTrue(profile['profile'] or profile['protocol'] == 'socketio-peer', path)
            self.assertTrue(profile['cwd'].is_dir(), path)

    def test_one_that_is_not_there_is_answered_with_those_that_are(self):
        with self.assertRaisesRegex(servers.BenchError, 'socketio'):
            servers.load_profile('nobody')


if __name__ == '__main__':
    unittest.main()
