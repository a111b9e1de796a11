// Hosts in network namespaces of their own, where this may make them (as root): to its clients and to each service behind it a host has a link, which can be
// unplugged. Connections stay as they are on both sides then, and bytes that were on their way are sent again when it is back.
import { execFileSync } from 'node:child_process';

export const kServicesAddress = '10.213.0.1';  // of those that name themselves: Redis
const kLinksMax = 8;                           // of a host
const ip = (...words) => execFileSync('ip', words, { stdio: 'pipe' });

export const kMayLink = (() => {
  const name = `ringline-try-${process.pid}`;
  try {
    ip('netns', 'add', name);
    ip('netns', 'del', name);
    return true;
  } catch {
    return false;
  }
})();

const made = new Set();
process.on('exit', () => { for (const host of [...made]) host.remove(); });

// The address at which hosts find what names itself; until `remove()`.
export class SharedAddress {
  constructor() {
    ip('address', 'replace', `${kServicesAddress}/32`, 'dev', 'lo');
    made.add(this);
  }
  remove() {
    if (made.delete(this)) ip('address', 'del', `${kServicesAddress}/32`, 'dev', 'lo');
  }
}

export class LinkedHost {
  // Its links by name. That to 'redis' leads to kServicesAddress.
  constructor(number, links) {
    this.number = number;
    this.links = links;
    this.name = `ringline-${process.pid}-${number}`;
    ip('netns', 'add', this.name);
    made.add(this);
    this.#ip('link', 'set', 'lo', 'up');
    for (const link of links) {
      ip('link', 'add', this.#device(link), 'type', 'veth', 'peer', 'name', link, 'netns', this.name);
      ip('address', 'add', `${this.outside(link)}/30`, 'dev', this.#device(link));
      this.#ip('address', 'add', `${this.inside(link)}/30`, 'dev', link);
      ip('link', 'set', this.#device(link), 'up');
      this.#ip('link', 'set', link, 'up');
    }
    this.#ip('route', 'add', `${kServicesAddress}/32`, 'via', this.outside('redis'));
  }
  remove() {
    if (made.delete(this)) ip('netns', 'del', this.name);
  }

  get within() { return ['ip', 'netns', 'exec', this.name]; }
  outside(link) { return `10.213.${this.#number(link)}.1`; }
  inside(link) { return `10.213.${this.#number(link)}.2`; }
  unplug(link) { ip('link', 'set', this.#device(link), 'down'); }
  plug(link) { ip('link', 'set', this.#device(link), 'up'); }

  #number(link) { return 1 + this.number * kLinksMax + this.links.indexOf(link); }
  #device(link) { return `ringline${this.#number(link)}`; }
  #ip(...words) { return ip('-n', this.name, ...words); }
}
