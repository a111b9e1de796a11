"""Plots as inline SVG, written by hand: bars with their spread, and lines. Colours and text follow the page's (light and dark)."""
import html
import math

WIDTH = 720
LABEL = 170
RIGHT = 150
BAR = 20
GAP = 10
COLOURS = ['var(--c0)', 'var(--c1)', 'var(--c2)', 'var(--c3)', 'var(--c4)', 'var(--c5)', 'var(--c6)', 'var(--c7)']


def short(value):
    if value >= 10_000:
        return f'{value:,.0f}'
    return f'{value:.0f}' if value >= 100 else f'{value:.2f}' if value < 10 else f'{value:.1f}'


def ticks(top, count=4):
    """Round values from 0 to `top`."""
    if top <= 0:
        return [0]
    raw = top / count
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= raw)
    return [step * i for i in range(int(top / step) + 1)]


def colour(index):
    return COLOURS[index % len(COLOURS)]


def frame(height, title, body):
    return (f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{html.escape(title)}"><title>{html.escape(title)}</title>{"".join(body)}</svg>')


def bars(title, rows):
    """`rows`: name and spread (median, low, high)."""
    top = max([value['high'] for _, value in rows] + [0]) or 1
    scale = (WIDTH - LABEL - RIGHT) / top
    body, y = [], 4
    bottom = 4 + len(rows) * (BAR + GAP)
    for tick in ticks(top):
        x = LABEL + tick * scale
        body.append(f'<line class="grid" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{bottom}"/>')
        body.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{tick:g}</text>')
    for index, (name, value) in enumerate(rows):
        middle = y + BAR / 2
        width = max(value['median'] * scale, 1)
        body.append(f'<text x="{LABEL - 8}" y="{middle + 4}" text-anchor="end">{html.escape(name)}</text>')
        body.append(f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" fill="{colour(index)}"/>')
        if value['high'] > value['low']:
            low, high = LABEL + value['low'] * scale, LABEL + value['high'] * scale
            body.append(f'<path class="spread" d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 4}v8M{high:.1f} {middle - 4}v8"/>')
        body.append(f'<text class="value" x="{LABEL + max(width, value["high"] * scale) + 8:.1f}" y="{middle + 4}">{short(value["median"])}</text>')
        y += BAR + GAP
    return frame(bottom + 20, title, body)


def lines(title, series, x_unit, y_unit, x_labels=None):
    """`series`: name to points (x, y); with x_labels, x is an index into them."""
    height, left, bottom, head = 240, 60, 30, 10
    points = [point for own in series.values() for point in own]
    if not points:
        return ''
    right_x = max(x for x, _ in points) or 1
    top = max(y for _, y in points) or 1
    place = lambda x, y: (left + x / right_x * (WIDTH - left - RIGHT), height - bottom - y / top * (height - bottom - head))
    body = []
    for tick in ticks(top):
        _, y = place(0, tick)
        body.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
        body.append(f'<text class="tick" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in range(len(x_labels)) if x_labels else ticks(right_x, 6):
        x, _ = place(tick, 0)
        text = x_labels[tick] if x_labels else f'{tick:g}'
        body.append(f'<text class="tick" x="{x:.1f}" y="{height - bottom + 16}" text-anchor="middle">{html.escape(text)}</text>')
    for index, (name, own) in enumerate(series.items()):
        path = 'M' + 'L'.join(f'{x:.1f} {y:.1f}' for x, y in (place(*point) for point in own))
        body.append(f'<path class="line" d="{path}" stroke="{colour(index)}"/>')
        y = head + 8 + index * 18
        body.append(f'<rect x="{WIDTH - RIGHT + 10}" y="{y - 5}" width="12" height="4" fill="{colour(index)}"/>')
        body.append(f'<text x="{WIDTH - RIGHT + 28}" y="{y + 1}">{html.escape(name)}</text>')
    body.append(f'<text class="tick" x="{left}" y="{height - 2}">{html.escape(y_unit)} over {html.escape(x_unit)}</text>')
    return frame(height, title, body)
