// What the client's unit tests share: a socket driven by hand, storage, and events of a lobby.

export class Wire {
  sockets = [];
  open = (url, protocol) => {
    const socket = new Socket(url, protocol);
    this.sockets.push(socket);
    return socket;
  };

  get last() {
    return this.sockets.at(-1);
  }
}

class Socket {
  sent = [];
  closed = false;

  constructor(url, protocol) {
    this.url = url;
    this.protocol = protocol;
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.closed = true;
  }

  frame(frame) {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  end(code = 1006) {
    this.onclose?.({ code });
  }

  event(event, data) {
    this.frame({ event, data });
  }

  /** The newest frame of this command. */
  find(cmd) {
    return this.sent.findLast((frame) => frame.cmd === cmd);
  }

  async answer(cmd, data) {
    this.frame({ id: this.find(cmd).id, ok: true, data });
    await settle();
  }

  async refuse(cmd, error) {
    this.frame({ id: this.find(cmd).id, ok: false, error });
    await settle();
  }

  async ready(more = {}) {
    this.onopen();
    this.frame({ id: this.find('connect').id, ok: true, data: { connectionId: '9' } });
    this.event('ready', { protocol: 1, user: ann, rooms: [], limits: {}, ...more });
    await settle();
  }
}

export class Memory {
  #items = new Map();
  getItem = (key) => this.#items.get(key) ?? null;
  setItem = (key, value) => this.#items.set(key, value);
}

/** Lets everything run that waits for no timer. */
export async function settle() {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

export const ann = { id: '1', username: 'Ann', status: 'online' };
export const bob = { id: '2', username: 'Bob', status: 'online' };
export const kRoom = '100';

export const member = (user, online = true) => ({ user, role: 'member', online });

export function message(seq, { sender = bob, text = `text ${seq}`, id = String(1000 + seq) } = {}) {
  const createdAt = '2026-01-01T00:00:00.000Z';
  return { id, roomId: kRoom, seq, sender, type: 'text', text, createdAt };
}

export function roomEvent(seq, part, epoch = 1) {
  return { roomId: kRoom, seq, epoch, id: String(5000 + (seq ?? 0)), at: 'now', actor: bob, ...part };
}

export const created = (seq, options) => roomEvent(seq, { message: message(seq, options) });

export function snapshot({ lastSeq = 3, epoch = 1, messages, members = [member(ann), member(bob)] } = {}) {
  const upTo = Array.from({ length: lastSeq }, (_, index) => message(index + 1));
  const room = { id: kRoom, name: 'lobby', lastSeq, epoch, memberCount: members.length };
  return { user: ann, room, members, messages: messages ?? upTo };
}
