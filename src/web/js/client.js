// Joins connection, session, store and outbox into what a person does: enter, write, read on, leave.
// It knows nothing of the page. The twist: after every `ready` the lobby is joined again, which is
// harmless for a member and brings the members' presence, which no resume replays; messages go out
// only after that.

import { Connection, State } from './connection.js';
import { Emitter } from './emitter.js';
import { limits } from './limits.js';
import { Outbox } from './outbox.js';
import { Store } from './store.js';

const kLobby = 'lobby';
const kAgain = new Set(['rate_limited', 'unavailable', 'timeout', 'busy']);

export const Older = Object.freeze({
  MORE: 'more', // there is more above
  LOADING: 'loading',
  END: 'end', // the first message is shown
  HELD: 'held', // as much is held as the client takes
  FAILED: 'failed',
});

/** Emits `change`, `state` (status), `message` (message), `signedOut` (error), `trouble` (error). */
export class Client extends Emitter {
  store = new Store();
  roomId = null; // the room on the screen
  #session;
  #older = new Map();
  #textLengthMax = limits.textCodePointsMax;
  #visit = 0; // counts `ready`; what waits for an older one is given up

  constructor({ url, session, storage, openSocket, random }) {
    super();
    this.#session = session;
    this.connection = new Connection({
      url,
      session,
      openSocket,
      random,
      resumePoints: () => this.store.resumePoints(),
    });
    this.outbox = new Outbox({
      storage,
      send: (data) => this.connection.request('send_message', data),
    });
    this.#wire();
  }

  get room() {
    return this.store.room(this.roomId);
  }

  get signedIn() {
    return this.#session.signedIn;
  }

  get name() {
    return this.#session.name;
  }

  /** As a new guest of this name; without a name as the guest we were. */
  enter(name) {
    if (name !== undefined) this.#session.choose(name);
    this.connection.open();
  }

  async leave() {
    this.connection.close();
    this.#forget();
    await this.#session.signOut().catch(() => {}); // offline: the session runs out by itself
  }

  /** In code points; the server says so in `ready`. */
  get textLengthMax() {
    return this.#textLengthMax;
  }

  send(text) {
    if (!this.room || this.outbox.full) return false;
    this.outbox.add(this.roomId, text);
    return true;
  }

  setTyping(on) {
    if (this.roomId) {
      this.connection.post(on ? 'start_typing' : 'stop_typing', { roomId: this.roomId });
    }
  }

  older(roomId = this.roomId) {
    const room = this.store.room(roomId);
    const asked = this.#older.get(roomId);
    if (asked) return asked;
    if (!room?.hasBefore) return Older.END;
    return room.messages.length >= limits.messagesHeldMax ? Older.HELD : Older.MORE;
  }

  async loadOlder(roomId = this.roomId) {
    const room = this.store.room(roomId);
    const state = this.older(roomId);
    const before = room?.messages[0]?.seq;
    if ((state !== Older.MORE && state !== Older.FAILED) || !before) return;
    if (!this.connection.connected) return;
    this.#older.set(roomId, Older.LOADING);
    this.emit('change');
    try {
      const page = { roomId, before, limit: limits.historyPage };
      const answer = await this.connection.request('get_history', page);
      this.#older.delete(roomId);
      this.store.applyOlder(roomId, answer);
    } catch {
      this.#older.set(roomId, Older.FAILED);
      this.emit('change');
    }
  }

  #wire() {
    const { connection, store, outbox } = this;
    connection.on('state', (status) => {
      if (status.state !== State.CONNECTED) outbox.setOnline(false);
      this.emit('state', status);
    });
    connection.on('ready', (ready) => this.#onReady(ready));
    connection.on('event', (name, data) => {
      if (name === 'resumed') store.applyResumed(data);
      else if (name !== 'ready') store.applyEvent(name, data);
    });
    connection.on('signedOut', (error) => {
      this.#forget();
      this.emit('signedOut', error);
    });
    store.on('change', () => this.emit('change'));
    store.on('stale', (roomId, mark) => this.#reload(roomId, mark));
    store.on('message', (roomId, message, clientId) => {
      if (clientId) outbox.settle(clientId);
      this.emit('message', message);
    });
    outbox.on('sent', (message, clientId) => store.applySent(message, clientId));
    outbox.on('change', () => this.emit('change'));
  }

  #onReady(ready) {
    if (this.store.me && this.store.me.id !== ready.user.id) this.#forget();
    this.store.me = ready.user;
    this.#textLengthMax = ready.limits?.textLength ?? limits.textCodePointsMax;
    this.outbox.restore(ready.user.id);
    this.#older.clear();
    const visit = ++this.#visit;
    this.#persist(visit, 'join', { room: kLobby }, (snapshot) => {
      this.roomId = snapshot.room.id;
      this.store.applySnapshot(snapshot);
      this.outbox.setOnline(true);
    });
  }

  #reload(roomId, mark) {
    const page = { roomId, limit: limits.historyPage };
    this.#persist(this.#visit, 'get_history', page, (answer) => {
      this.store.applyReload(roomId, answer, mark);
    });
  }

  /** A command that the page cannot do without: again while there is hope and this connection. */
  async #persist(visit, cmd, data, done) {
    try {
      const answer = await this.connection.request(cmd, data);
      if (visit === this.#visit) done(answer);
    } catch (error) {
      if (visit !== this.#visit || error.code === 'disconnected') return;
      if (!kAgain.has(error.code)) {
        this.emit('trouble', error);
        return;
      }
      const pauseMs = error.retryAfterMs ?? limits.sendRetryMs;
      setTimeout(() => {
        if (visit === this.#visit) this.#persist(visit, cmd, data, done);
      }, pauseMs);
    }
  }

  #forget() {
    this.#visit++;
    this.roomId = null;
    this.store.clear();
    this.outbox.clear();
    this.#older.clear();
  }
}
