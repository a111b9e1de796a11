"""The report: results.json is all that was measured, report.md what a reader wants of it, report.html the same with plots."""
import json

import page

LARGE = 1000  # from here on no fraction is worth its room


def number(value):
    return f'{value:,.0f}' if abs(value) >= LARGE or value == int(value) else f'{value:.2f}'


def text_of(value):
    """A spread, or one figure."""
    if isinstance(value, bool):
        return 'all once, in order' if value else 'NOT CLEAN'
    if not isinstance(value, dict):
        return number(value)
    if len(value['values']) == 1:
        return number(value['median'])
    return f'{number(value["median"])} ({number(value["low"])}-{number(value["high"])})'


def part_table(rows):
    """Head and rows of one part; a figure that a server does not have is a dash."""
    keys = list(dict.fromkeys(key for row in rows.values() for key in row))
    head = ['server', *('deliveries' if key == 'clean' else key for key in keys)]
    return head, [[name, *(text_of(row[key]) if key in row else '-' for key in keys)] for name, row in rows.items()]


def judged_rows(found):
    for judged in found.get('judged', []):
        sign = 'at least' if judged['atLeast'] else 'at most'
        unit = f' {judged["unit"]}' if judged['unit'] else ''
        yield judged['what'], f'{text_of(judged["value"])}{unit}', f'{sign} {number(judged["bound"])}{unit}', 'met' if judged['met'] else 'NOT MET'


def conditions(results):
    machine, disk, plan = results['machine'], results['disk'], results['plan']
    yield f'{machine["processor"]}, {machine["cores"]} cores, {machine["memoryGiB"]} GiB, kernel {machine["kernel"]}, {machine["system"]}.'
    yield (f'Servers on core {plan["serverCore"]}, the load tool on core {plan["loadCore"]}; texts of {plan["size"]} bytes; every send is answered where '
           f'the server answers. {plan["pairs"]} alternating slices of {plan["seconds"]:g} s unless the table says otherwise: median (lowest-highest).')
    yield ('The servers\' core is kept from halting, by a process that runs only when nothing else wants to. Before each slice and each step of a search the '
           'rate rises from nothing for some seconds; clients acknowledge what they get when they read it (TCP_QUICKACK).')
    yield (f'Journal on {disk["fileSystem"]}, median commit of 4 KiB {disk["commitMicros"]:.0f} µs before the run. Ringline is durable in every slice: '
           'fsync before delivery.')
    if plan['quick']:
        yield 'A quick run: it shows that everything works; the figures mean nothing.'
    if results.get('interrupted'):
        yield 'Interrupted: this is what had been measured.'


def table(head, rows):
    lines = ['| ' + ' | '.join(head) + ' |', '|' + ' --- |' * len(head)]
    return lines + ['| ' + ' | '.join(row) + ' |' for row in rows]


def scenario_lines(found):
    for part, rows in found.get('parts', {}).items():
        yield from [f'### {part[0].upper()}{part[1:]}', '', *table(*part_table(rows)), '']
    for ratio in found.get('ratios', []):
        yield f'- {ratio["what"]}: {text_of(ratio["value"])}'
    yield from (f'- {note}' for note in found.get('notes', []))
    if found.get('flushesPerSecond') is not None:
        yield f'- {found["flushesPerSecond"]:.0f} syncs of the disk a second on average.'
    if 'failure' in found:
        yield f'- FAILED: {found["failure"]}'
    yield ''
    if found.get('judged'):
        yield from [*table(['bound', 'measured', 'asked', ''], judged_rows(found)), '']
    for what, text in found.get('plans', {}).items():
        yield from [f'EXPLAIN (ANALYZE, BUFFERS) of {what}:', '', '```', text.rstrip(), '```', '']


def markdown(results):
    lines = ['# Ringline beside its peers', '', f'`{results["command"]}`, {results["time"]}', '', *conditions(results), '']
    lines += [f'- {name}: {about}' for name, about in results['peers'].items()]
    for found in results['scenarios'].values():
        lines += ['', f'## {found["title"]}', '', *scenario_lines(found)]
    return '\n'.join(lines)


def write(results, folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'results.json').write_text(json.dumps(results, indent=1) + '\n', encoding='utf-8')
    (folder / 'report.md').write_text(markdown(results), encoding='utf-8')
    (folder / 'report.html').write_text(page.write_html(results, list(conditions(results)), part_table, judged_rows, text_of), encoding='utf-8')
