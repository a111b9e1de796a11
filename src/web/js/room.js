// What is known of one room: messages in order, members, who types, and how far its events were seen.
// Invariants: `messages` is sorted by seq, those without one (pending at the server) last; a message
// id is there once; `lastSeq` is the highest event applied with nothing missing below it.

import { limits } from './limits.js';

const order = (message) => message.seq ?? Infinity;
const newerId = (a, b) => (BigInt(a) > BigInt(b) ? 1 : -1);

function compare(a, b) {
  if (order(a) !== order(b)) return order(a) - order(b);
  return a.id === b.id ? 0 : newerId(a.id, b.id);
}

export class Room {
  info;
  messages = [];
  members = new Map();
  typing = new Map(); // user id -> { username, timer }
  hasBefore = false;
  loadingOlder = false;
  lastSeq = 0;
  epoch = 0;
  /** While null events are applied as they come; else they wait here for the first page. */
  backlog = [];

  constructor(id) {
    this.info = { id, name: '', memberCount: 0 };
  }

  get loaded() {
    return this.backlog === null;
  }

  message(id) {
    return this.messages.find((held) => held.id === id);
  }

  /** Adds a message or replaces the one with its id. The sender's clientId stays with it. */
  put(message, clientId) {
    const held = this.message(message.id);
    const known = clientId ?? held?.clientId;
    if (held) this.messages.splice(this.messages.indexOf(held), 1);
    const added = known ? { ...message, clientId: known } : message;
    let at = this.messages.length;
    while (at > 0 && compare(this.messages[at - 1], added) > 0) at--;
    this.messages.splice(at, 0, added);
  }

  patch(id, change) {
    const at = this.messages.findIndex((held) => held.id === id);
    if (at >= 0) this.messages[at] = { ...this.messages[at], ...change };
  }

  prepend(page) {
    const held = new Set(this.messages.map((message) => message.id));
    const older = page.messages.filter((message) => !held.has(message.id));
    this.messages = [...older, ...this.messages].sort(compare);
    this.hasBefore = page.hasBefore;
  }

  /** Starts over from a page that holds everything up to `lastSeq`. */
  replace(messages, hasBefore, lastSeq, epoch) {
    this.messages = [...messages].sort(compare);
    this.hasBefore = hasBefore;
    this.lastSeq = lastSeq;
    this.epoch = epoch;
  }

  /** Lets go of the oldest; they can be loaded again. */
  trim(keep) {
    if (this.messages.length <= keep) return;
    this.messages.splice(0, this.messages.length - keep);
    this.hasBefore = true;
  }

  hold(name, data) {
    if (this.backlog.length >= limits.backlogMax) this.backlog.shift();
    this.backlog.push([name, data]);
  }

  setMembers(members) {
    this.members = new Map(members.map((member) => [member.user.id, member]));
  }
}
