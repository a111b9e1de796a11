// Messages on their way: shown at once, sent in order, kept while there is no connection.
// The twist: a message is sent again under the same clientId whenever its fate is unknown, and the
// server answers with the first one; so doubt never makes two. Invariant: a room has one send in
// flight, since a second one could overtake a first that is turned away by the rate limit.

import { Emitter } from './emitter.js';
import { limits } from './limits.js';

export const Delivery = Object.freeze({
  SENDING: 'SENDING', // waits for the connection, its turn, or the answer
  SENT: 'SENT', // the server has it durably; said of messages, an entry is gone by then
  FAILED: 'FAILED', // refused; a person decides
});

const kAgain = new Set(['rate_limited', 'unavailable', 'timeout', 'busy']);

/** Emits `change` and `sent` (message, clientId). `send` answers `{message}` or rejects. */
export class Outbox extends Emitter {
  entries = [];
  #send;
  #storage;
  #storageKey = null;
  #online = false;
  #busy = new Set(); // room ids with a send in flight or waiting to go again

  constructor({ send, storage }) {
    super();
    this.#send = send;
    this.#storage = storage;
  }

  /** Takes up what this user had not sent when the page was left. */
  restore(userId) {
    const key = `ringline.outbox.${userId}`;
    if (key === this.#storageKey) return;
    this.#storageKey = key;
    this.entries = this.#read(key);
    this.emit('change');
  }

  clear() {
    this.entries = [];
    this.#save();
    this.#storageKey = null;
    this.emit('change');
  }

  get full() {
    return this.entries.length >= limits.outboxMax;
  }

  add(roomId, text) {
    const createdAt = new Date().toISOString();
    const clientId = newClientId();
    this.entries.push({ clientId, roomId, text, createdAt, state: Delivery.SENDING, retries: 0 });
    this.#changed();
    this.#pump(roomId);
  }

  retry(clientId) {
    const entry = this.#entry(clientId);
    if (entry?.state !== Delivery.FAILED) return;
    Object.assign(entry, { state: Delivery.SENDING, error: null, retries: 0 });
    this.#changed();
    this.#pump(entry.roomId);
  }

  discard(clientId) {
    this.entries = this.entries.filter((entry) => entry.clientId !== clientId);
    this.#changed();
  }

  /** Its event has come: the server has it, whatever becomes of the answer. */
  settle(clientId) {
    if (this.#entry(clientId)) this.discard(clientId);
  }

  setOnline(online) {
    this.#online = online;
    if (!online) return;
    for (const roomId of new Set(this.entries.map((entry) => entry.roomId))) this.#pump(roomId);
  }

  #entry(clientId) {
    return this.entries.find((entry) => entry.clientId === clientId);
  }

  async #pump(roomId) {
    if (!this.#online || this.#busy.has(roomId)) return;
    const waiting = (entry) => entry.roomId === roomId && entry.state === Delivery.SENDING;
    const entry = this.entries.find(waiting);
    if (!entry) return;
    this.#busy.add(roomId);
    const pauseMs = await this.#attempt(entry);
    const release = () => {
      this.#busy.delete(roomId);
      this.#pump(roomId);
    };
    if (pauseMs > 0) setTimeout(release, pauseMs);
    else release();
  }

  /** One try. Answers how long the room waits before the next. */
  async #attempt(entry) {
    const { clientId, roomId, text } = entry;
    try {
      const { message } = await this.#send({ roomId, clientId, text });
      this.entries = this.entries.filter((other) => other !== entry);
      this.emit('sent', message, clientId);
      this.#changed();
      return 0;
    } catch (error) {
      return this.#failed(entry, error);
    }
  }

  #failed(entry, error) {
    if (!this.entries.includes(entry)) return 0;
    entry.error = { code: error.code, fields: error.fields };
    let pauseMs = 0;
    if (error.code === 'disconnected') {
      entry.error = null;
      this.#online = false; // until the owner says that the connection is back
    } else if (kAgain.has(error.code) && entry.retries < limits.sendRetriesMax) {
      entry.retries++;
      pauseMs = error.retryAfterMs ?? limits.sendRetryMs;
      entry.error.retryAt = Date.now() + pauseMs;
    } else {
      entry.state = Delivery.FAILED;
    }
    this.#changed();
    return pauseMs;
  }

  #changed() {
    this.#save();
    this.emit('change');
  }

  #read(key) {
    try {
      return JSON.parse(this.#storage.getItem(key)) ?? [];
    } catch {
      return [];
    }
  }

  #save() {
    if (!this.#storageKey) return;
    try {
      this.#storage.setItem(this.#storageKey, JSON.stringify(this.entries));
    } catch {
      // Without storage the queue lasts as long as the page.
    }
  }
}

/** 128 random bits. Not randomUUID, which exists only in secure contexts. */
function newClientId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
