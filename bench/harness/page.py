"""report.html: one file, no script, nothing loaded from anywhere; plots are inline SVG."""
import html

import plots

STYLE = '''
:root { color-scheme: light dark; --text: #1d2430; --soft: #5b6675; --grid: #e3e7ec; --paper: #fff; --good: #14804a; --bad: #b3261e;
  --c0: #2563c9; --c1: #d9730d; --c2: #2a9d6f; --c3: #a23cba; --c4: #b88a00; --c5: #c43a5d; --c6: #3aa0c4; --c7: #7a7f87; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ee; --soft: #9aa5b4; --grid: #313945; --paper: #14181e; --good: #4cc38a; --bad: #f28b82; } }
body { margin: 0 auto; max-width: 960px; padding: 24px 16px 64px; font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--paper); }
h1 { margin: 0 0 4px; } h2 { margin: 40px 0 4px; padding-top: 12px; border-top: 1px solid var(--grid); } h3 { margin: 20px 0 6px; font-size: 1em; }
p, li { margin: 4px 0; } code { font-size: .92em; overflow-wrap: anywhere; } .soft, figcaption { color: var(--soft); }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92em; }
th, td { padding: 4px 12px 4px 0; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--grid); }
th { color: var(--soft); font-weight: 500; } th:first-child, td:first-child { text-align: left; }
td.good { color: var(--good); } td.bad { color: var(--bad); font-weight: 600; }
figure { margin: 12px 0; } svg { width: 100%; max-width: 720px; height: auto; display: block; font: 12px system-ui, sans-serif; }
svg text { fill: var(--text); } svg .tick { fill: var(--soft); font-size: 11px; } .grid { stroke: var(--grid); } .spread { stroke: var(--text); fill: none; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
'''
# Bars of these figures, where a part has them.
BARS = ['messages/s', 'without the store thread', 'CPU a delivery, µs', 'busiest thread, ms', 'answer p50, µs', 'CPU a connection, µs',
        'anonymous, bytes a connection', 'pages/s']
PERCENTILES = ['p50, ms', 'p90, ms', 'p99, ms', 'p99.9, ms']
NAMES = {'without the store thread': 'CPU without the store thread, µs'}


def figure(caption, svg):
    return f'<figure><figcaption>{html.escape(caption)}</figcaption>{svg}</figure>' if svg else ''


def table(head, rows, mark=None):
    cells = lambda tag, row: ''.join(f'<{tag}{" class=" + mark(cell) if mark and mark(cell) else ""}>{html.escape(cell)}</{tag}>' for cell in row)
    return (f'<div class="wide"><table><thead><tr>{cells("th", head)}</tr></thead><tbody>'
            + ''.join(f'<tr>{cells("td", row)}</tr>' for row in rows) + '</tbody></table></div>')


def mark(cell):
    return {'met': 'good', 'NOT MET': 'bad', 'NOT CLEAN': 'bad'}.get(cell)


def part_plots(part, rows):
    searched = part == 'highest rate'
    for key in BARS:
        if key == 'messages/s' and not searched:
            continue
        own = [(name, row[key]) for name, row in rows.items() if key in row]
        if own and not (key == 'CPU a delivery, µs' and any('without the store thread' in row for row in rows.values())):
            yield figure(NAMES.get(key, key), plots.bars(f'{part}: {key}', own))
    curves = {name: [(i, row[key]['median']) for i, key in enumerate(PERCENTILES) if key in row] for name, row in rows.items()}
    if all(len(points) == len(PERCENTILES) for points in curves.values()):
        yield figure('latency from the time at which a message should have been sent',
                     plots.lines(f'{part}: latency', curves, 'percentile', 'ms', [key.split(',')[0] for key in PERCENTILES]))


def scenario(found, part_table, judged_rows, text_of):
    yield f'<h2>{html.escape(found["title"])}</h2>'
    if found.get('judged'):
        yield table(['bound', 'measured', 'asked', ''], [list(row) for row in judged_rows(found)], mark)
    for part, rows in found.get('parts', {}).items():
        yield f'<h3>{html.escape(part[0].upper() + part[1:])}</h3>'
        yield table(*part_table(rows), mark)
        yield from part_plots(part, rows)
    memory = {name: points for name, points in found.get('memory', {}).items() if len(points) > 2}
    if memory:
        yield figure('memory of the servers', plots.lines('memory', memory, 'seconds', 'MiB'))
    texts = [f'{ratio["what"]}: {text_of(ratio["value"])}' for ratio in found.get('ratios', [])] + found.get('notes', [])
    if found.get('flushesPerSecond') is not None:
        texts.append(f'{found["flushesPerSecond"]:.0f} syncs of the disk a second on average.')
    if 'failure' in found:
        texts.append(f'FAILED: {found["failure"]}')
    yield '<ul>' + ''.join(f'<li>{html.escape(text)}</li>' for text in texts) + '</ul>' if texts else ''
    for what, text in found.get('plans', {}).items():
        yield (f'<details><summary>EXPLAIN (ANALYZE, BUFFERS) of {html.escape(what)}</summary><div class="wide"><pre>{html.escape(text)}</pre></div>'
               '</details>')


def html_page(title, body):
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f'<title>{title}</title><style>{STYLE}</style></head><body>{"".join(body)}</body></html>\n')


def page(results, conditions, part_table, judged_rows, text_of):
    yield '<h1>Ringline beside its peers</h1>'
    yield f'<p class="soft"><code>{html.escape(results["command"])}</code>, {results["time"]}</p>'
    yield from (f'<p>{html.escape(text)}</p>' for text in conditions)
    yield '<ul>' + ''.join(f'<li>{html.escape(name)}: {html.escape(about)}</li>' for name, about in results['peers'].items()) + '</ul>'
    for found in results['scenarios'].values():
        yield from scenario(found, part_table, judged_rows, text_of)


def write_html(results, conditions, part_table, judged_rows, text_of):
    return html_page('Ringline beside its peers', page(results, conditions, part_table, judged_rows, text_of))
