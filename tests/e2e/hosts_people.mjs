// People who chat through whatever host they find, and hold what they are told against each other: within an epoch of a room everybody gets the same events in
// the same order, each once and none left out; what was acked is there once. Hosts may go at any time; people come back, to another one perhaps, and now and
// then one moves to another without need.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { Client } from './client.mjs';
import { until } from './server.mjs';

const kWindow = 64;            // sends of one person without an answer
const kReadyMs = 20_000;       // longer, and another host is tried
const kMoveEveryMs = 3000;     // somebody does
const kAgainMs = 200;          // after an answer that says `unavailable`, or that not all is stored
const kReported = 20;          // of what is wrong

export class People {
  // {fleet, count, rooms, random: () => [0, 1)}
  constructor(options) {
    Object.assign(this, options);
    this.everybody = Array.from({ length: this.count }, (_, number) => new Person(this, number));
    this.acked = new Map();   // clientId -> {roomId, id, pending, certain: nobody else may have it under another id}
    this.seen = new Map();    // "room/epoch/seq" -> event id
    this.counts = { sent: 0, acked: 0, pending: 0, answeredAsDuplicates: 0, refused: 0, events: 0, connections: 0, resumed: 0, reloads: 0 };
    this.wrong = [];
  }

  fail(what) { if (this.wrong.length < kReported) this.wrong.push(what); }
  check() { assert.deepEqual(this.wrong, []); }

  async start() {
    for (const person of this.everybody) await person.connect();
    this.ids = await this.everybody[0].join(this.rooms);
    for (const person of this.everybody.slice(1)) await person.join(this.rooms);
  }

  // Sends at `rate` messages a second, all together, until `over()`. The messages a second that were sent: fewer, where answers were waited for.
  async chat(rate, over) {
    const began = performance.now();
    let due = 0;
    let moved = began;
    while (!over()) {
      const now = performance.now();
      for (const upTo = Math.floor((now - began) * rate / 1000); due < upTo; ++due) this.everybody[due % this.count].send();
      if (now - moved > kMoveEveryMs) {
        moved = now;
        this.everybody[Math.floor(this.random() * this.count)].leave();
      }
      for (const person of this.everybody) person.comeBack();
      await sleep(2);
    }
    return this.counts.sent / (performance.now() - began) * 1000;
  }

  // Until everybody is there, has all answers and has all events, and all that was acked is in the database.
  async rest(ms) {
    const end = Date.now() + ms;
    for (const step of [() => this.unrest(), () => this.notStored(), () => this.unrest()])
      await until(async () => {
        for (const person of this.everybody) person.comeBack();
        this.restless = await step();
        return !this.restless || this.wrong.length > 0;
      }, () => `does not come to rest: ${this.restless}`, Math.max(0, end - Date.now()));
    this.check();
  }
  unrest() { return this.everybody.map((person) => person.unrest()).find(Boolean) ?? this.behind(); }
  behind() {
    for (const roomId of this.ids) {
      const heads = new Set(this.everybody.map(({ points }) => JSON.stringify([points[roomId]?.epoch, points[roomId]?.seq])));
      if (heads.size > 1) return `room ${roomId}: they are at ${[...heads].join(' and ')} ([epoch, seq])`;
    }
    return undefined;
  }
  async notStored() {
    const [[count]] = await this.fleet.sql('SELECT count(client_id) FROM messages');
    const all = Number(count) < this.acked.size ? null : new Set((await this.fleet.sql('SELECT client_id FROM messages')).flat());
    if (all && [...this.acked.keys()].every((clientId) => all.has(clientId))) return undefined;
    await sleep(kAgainMs);
    return `${count} messages are stored, of ${this.acked.size} acked ones not all`;
  }

  // Each host says the same of the last messages, soon: where nobody listened to the room it is read first.
  async compareHosts() {
    for (const roomId of this.ids) {
      let ends;
      await until(async () => {
        const pages = await Promise.all(this.fleet.hosts.map(({ server }) => this.#page(server, roomId)));
        ends = pages.map((page) => page?.at(-1));
        return pages.every((page) => page && isDeepStrictEqual(page, pages[0]));
      }, () => `hosts say the same of room ${roomId}, which ends with ${ends.join(' and ')}`, kReadyMs);
    }
  }
  async #page(server, roomId) {
    try {
      const client = await Client.connect(server.url, { token: this.everybody[0].token });
      const { messages } = await client.command('get_history', { roomId, limit: 100 });
      await client.close();
      return messages.map(({ seq, id, text }) => `${seq} ${id} ${text}`);
    } catch (error) {
      if (error.code !== 'unavailable') throw error;
      await sleep(kAgainMs);
      return null;
    }
  }

  // From the database: what was acked is there once, each room without a hole, and in the order that was seen. How many rooms have begun a new epoch.
  async audit() {
    const { fleet } = this;
    assert.deepEqual(await fleet.sql('SELECT room_id, seq, reason FROM dead_letters LIMIT 3'), []);
    const epochs = new Map((await fleet.sql('SELECT id, epoch FROM rooms')).map(([id, epoch]) => [id, Number(epoch)]));
    const messages = await fleet.sql('SELECT room_id, seq, id, client_id FROM messages');
    const others = await fleet.sql('SELECT room_id, seq FROM room_events');
    const kept = new Map();      // clientId -> {roomId, id}
    const places = new Map();    // "room/seq" -> id of a message, or null
    const ids = new Set();       // "room/id"
    for (const [roomId, seq, id, clientId] of messages) {
      if (clientId) assert.ok(!kept.has(clientId), `${clientId} is there twice`);
      assert.ok(!places.has(`${roomId}/${seq}`), `two events at seq ${seq} of room ${roomId}`);
      kept.set(clientId, { roomId, id });
      places.set(`${roomId}/${seq}`, id);
      ids.add(`${roomId}/${id}`);
    }
    for (const [roomId, seq] of others) {
      assert.ok(!places.has(`${roomId}/${seq}`), `two events at seq ${seq} of room ${roomId}`);
      places.set(`${roomId}/${seq}`, null);
    }
    for (const [clientId, { roomId, id, certain }] of this.acked) {
      assert.equal(kept.get(clientId)?.roomId, roomId, `${clientId} was acked, and is lost`);
      if (certain) assert.equal(kept.get(clientId).id, id, `${clientId} was acked with another id`);
    }
    const counts = new Map();
    for (const place of places.keys()) counts.set(place.split('/')[0], (counts.get(place.split('/')[0]) ?? 0) + 1);
    for (const [roomId, last] of await fleet.sql('SELECT id, ingested_seq FROM rooms WHERE ingested_seq > 0'))
      assert.equal(counts.get(roomId), Number(last), `events of room ${roomId}, up to seq ${last}`);
    for (const [key, id] of this.seen) {
      const [roomId, epoch, seq] = key.split('/');
      const there = places.get(`${roomId}/${seq}`);
      if (Number(epoch) === epochs.get(roomId)) assert.ok(there === null || there === id, `${key} was seen as ${id}, and is ${there}`);
      else assert.ok(there === null || there === id || ids.has(`${roomId}/${id}`), `${key} was seen as ${id}, and is lost`);
    }
    return [...epochs.values()].filter((epoch) => epoch > 1).length;
  }

  async stop() { await Promise.all(this.everybody.map((person) => person.client?.close())); }
}

class Person {
  constructor(people, number) {
    Object.assign(this, { people, number, points: {}, outbox: new Map(), last: 0, coming: false, client: null, resuming: null });
  }

  async connect() {
    const up = this.people.fleet.up();
    if (up.length === 0) return;
    const { server } = up[Math.floor(this.people.random() * up.length)];
    const resume = Object.fromEntries(Object.entries(this.points).map(([room, { seq, epoch }]) => [room, { seq, epoch }]));
    const client = new Client(server.url, { handshakeTimeout: kReadyMs });
    const take = client.take.bind(client);
    client.take = (frame) => { this.take(frame); take(frame); client.events.length = 0; };
    client.closed.then(() => { if (this.client === client) this.client = null; });
    try {
      await client.open();
      this.resuming = this.token ? new Map() : null;  // roomId -> {hole, heard: something came}
      const ready = client.event('ready', () => true, kReadyMs);
      ready.catch(() => {});  // where the command failed before
      await client.command('connect', this.token ? { token: this.token, resume } : { name: `person-${this.number}` });
      const { tokens } = await ready;
      this.token ??= tokens?.accessToken;
    } catch (error) {
      client.socket.terminate();
      throw error;
    }
    if (client.socket.readyState !== client.socket.OPEN) throw new Error('it is gone already');
    this.client = client;
    this.people.counts.connections += 1;
    for (const [clientId, send] of this.outbox) this.ask(clientId, send);
  }

  leave() { this.client?.socket.terminate(); }

  comeBack() {
    if (this.client || this.coming) return;
    this.coming = true;
    this.connect().catch(() => sleep(100 + this.people.random() * 200)).finally(() => { this.coming = false; });
  }

  async join(names) {
    const ids = [];
    for (const room of names) ids.push((await this.client.command('join', { room })).room.id);
    return ids;
  }

  send() {
    if (this.outbox.size >= kWindow) return;
    const { people } = this;
    const roomId = people.ids[Math.floor(people.random() * people.ids.length)];
    const clientId = `${this.number}-${++this.last}`;
    const send = { roomId, asked: 0 };
    this.outbox.set(clientId, send);
    people.counts.sent += 1;
    if (this.client) this.ask(clientId, send);
  }

  ask(clientId, send) {
    const { client, people } = this;
    const text = `text of ${clientId}`;
    ++send.asked;
    client.ask('send_message', { roomId: send.roomId, clientId, text }).then((answer) => {
      if (!answer.ok) {
        people.counts.refused += 1;
        if (answer.error.code !== 'unavailable') people.fail(`${clientId}: ${JSON.stringify(answer.error)}`);
        setTimeout(() => { if (this.client === client && this.outbox.has(clientId)) this.ask(clientId, send); }, answer.error.retryAfterMs ?? kAgainMs);
        return;
      }
      const { message, duplicate, pending } = answer.data;
      if (message.text !== text) people.fail(`${clientId} was answered with ${JSON.stringify(message)}`);
      this.outbox.delete(clientId);
      // Two hosts that cannot speak to each other may both keep one that was sent to both: the first to come back wins.
      people.acked.set(clientId, { roomId: send.roomId, id: message.id, pending, certain: !pending || send.asked === 1 });
      people.counts.acked += 1;
      if (duplicate) people.counts.answeredAsDuplicates += 1;
      if (pending) people.counts.pending += 1;
    }, () => {});  // the connection is gone: it is sent again by the next one
  }

  take({ event, data }) {
    const { people } = this;
    if (event === 'room_reset') {
      people.counts.reloads += 1;
      this.points[data.roomId] = { seq: data.lastSeq, epoch: data.epoch };
    } else if (event === 'resumed') {
      for (const [roomId, { to, epoch, complete }] of Object.entries(data.rooms)) {
        people.counts.resumed += 1;
        const { hole, heard } = this.resuming.get(roomId) ?? {};
        const point = this.points[roomId];
        if (complete && hole) people.fail(hole);
        if (complete && (point.seq < to || point.epoch !== epoch)) people.fail(`person ${this.number}: resumed to ${epoch}/${to}, has ${point.epoch}/${point.seq}`);
        if (!complete) people.counts.reloads += 1;
        if (!complete && !heard) this.points[roomId] = { seq: to, epoch };
      }
      this.resuming = null;
    } else if (data?.seq && data.roomId && data.id) {
      this.witness(data);
    }
  }

  witness({ roomId, seq, epoch, id }) {
    const { people } = this;
    people.counts.events += 1;
    const key = `${roomId}/${epoch}/${seq}`;
    const known = people.seen.get(key);
    if (known !== undefined && known !== id) people.fail(`${key} was ${known}, is now ${id}`);
    people.seen.set(key, id);
    const point = this.points[roomId];
    const hole = point && (point.epoch !== epoch || seq !== point.seq + 1) ? `person ${this.number}: ${key} after ${point.epoch}/${point.seq}` : undefined;
    if (hole && !this.resuming) people.fail(hole);
    // Until `resumed` comes it may be a room that he is to load anew.
    this.resuming?.set(roomId, { hole: this.resuming.get(roomId)?.hole ?? hole, heard: true });
    this.points[roomId] = { seq, epoch };
  }

  unrest() {
    if (!this.client) return `person ${this.number} is not there`;
    if (this.outbox.size > 0) return `person ${this.number} has no answer to ${this.outbox.keys().next().value}`;
    return undefined;
  }
}
