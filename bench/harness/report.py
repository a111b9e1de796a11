"""The report: results.json is all that was measured, report.md what a reader wants of it."""
import json
import statistics


def spread(values):
    """Median, lowest, highest."""
    return {'median': statistics.median(values), 'low': min(values), 'high': max(values), 'values': list(values)}


def text_of(found, digits=2):
    return f'{found["median"]:.{digits}f} ({found["low"]:.{digits}f}-{found["high"]:.{digits}f})'


def clean_text(found):
    return 'all once, in order' if found else 'NOT CLEAN'


def cpu_rows(results):
    for name, found in results['cpu']['servers'].items():
        yield (name, text_of(found['microsPerDelivery']), text_of(found['microsPerDeliveryWithoutStore']), text_of(found['p50Ms']),
               text_of(found['p99Ms']), clean_text(found['clean']))


def table(head, rows):
    lines = ['| ' + ' | '.join(head) + ' |', '|' + ' --- |' * len(head)]
    lines += ['| ' + ' | '.join(row) + ' |' for row in rows]
    return lines


def markdown(results):
    machine, disk, plan = results['machine'], results['disk'], results['plan']
    lines = ['# Ringline beside its peers', '', f'`{results["command"]}`, {results["time"]}', '',
             f'{machine["processor"]}, {machine["cores"]} cores, {machine["memoryGiB"]} GiB, kernel {machine["kernel"]}, {machine["system"]}.',
             f'Servers on core {plan["serverCore"]}, the load tool on core {plan["loadCore"]}. Journal on {disk["fileSystem"]}, median commit of 4 KiB '
             f'{disk["commitMicros"]:.0f} µs before the run.',
             f'{plan["connections"]} connections in rooms of {plan["roomSize"]}, texts of {plan["size"]} bytes, every send is answered.', '']
    if 'cpu' in results:
        cpu = results['cpu']
        lines += [f'## CPU a delivery at {plan["rate"]:g} messages a second', '',
                  f'{cpu["pairs"]} alternating slices of {plan["seconds"]:g} s; median (lowest-highest).', '']
        lines += table(['server', 'CPU, µs a delivery', 'without the store thread', 'p50, ms', 'p99, ms', 'deliveries'], cpu_rows(results))
        lines += ['', *(f'- CPU of {results["first"]}, as a share {name}: {text_of(found)}' for name, found in cpu['ratios'].items()), '']
        if cpu.get('flushesPerSecond') is not None:
            lines += [f'{cpu["flushesPerSecond"]:.0f} flushes of the disk a second during {results["first"]}\'s slices.', '']
    if 'highest' in results:
        highest = results['highest']
        lines += [f'## Highest rate held with p99 below {plan["p99Ms"]:g} ms', '']
        lines += table(['server', 'messages a second', 'deliveries a second'],
                       ((name, f'{rate:.0f}', f'{rate * plan["connections"] / max(1, -(-plan["connections"] // plan["roomSize"])):.0f}')
                        for name, rate in highest['servers'].items()))
        lines += ['', *(f'- {results["first"]} to {name}: {ratio:.2f}' for name, ratio in highest['ratios'].items()), '']
    if results.get('interrupted'):
        lines += ['Interrupted: this is what had been measured.', '']
    return '\n'.join(lines)


def write(results, folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'results.json').write_text(json.dumps(results, indent=1) + '\n', encoding='utf-8')
    (folder / 'report.md').write_text(markdown(results), encoding='utf-8')
