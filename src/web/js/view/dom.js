// The only place that makes elements. Data reaches the page as text nodes and attribute values,
// never as markup: that is why `<script>` in a message is eight harmless characters.

const kSvg = 'http://www.w3.org/2000/svg';

/** el('p', { class: 'x', dir: 'auto', onclick: f }, 'text', child) */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const kIcons = {
  clock: 'M12 7v5l3 2M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Z',
  check: 'm5 12.5 4.5 4.5L19 7.5',
  alert: 'M12 8v5m0 3.5v.01M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Z',
};

export function icon(name) {
  const svg = document.createElementNS(kSvg, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', `icon icon-${name}`);
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(kSvg, 'path');
  path.setAttribute('d', kIcons[name]);
  svg.append(path);
  return svg;
}

const kHues = 8;

/** A coloured initial; the colour follows from the id, so that a person keeps it everywhere. */
export function avatar({ id, username }) {
  let hash = 0;
  for (const digit of id) hash = (hash * 31 + digit.charCodeAt(0)) >>> 0;
  const initial = [...username.trim()][0]?.toUpperCase() ?? '?';
  return el('span', { class: `avatar hue-${hash % kHues}`, 'aria-hidden': 'true' }, initial);
}

/**
 * Makes the children of `parent` be `items`, reusing a child while its key and signature stay.
 * `build(element, item)` fills the element of an item that is new or has changed.
 */
export function reconcile(parent, rows, items, build) {
  const keep = new Set(items.map((item) => item.key));
  for (const [key, row] of rows) {
    if (keep.has(key)) continue;
    row.element.remove();
    rows.delete(key);
  }
  let cursor = parent.firstElementChild;
  for (const item of items) {
    const row = rows.get(item.key) ?? { element: el('li'), signature: null };
    rows.set(item.key, row);
    const signature = JSON.stringify(item);
    if (row.signature !== signature) {
      row.signature = signature;
      build(row.element, item);
    }
    if (row.element === cursor) cursor = cursor.nextElementSibling;
    else parent.insertBefore(row.element, cursor);
  }
}
