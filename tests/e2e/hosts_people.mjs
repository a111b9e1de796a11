// People who chat through whatever host they find, and hold what they are told against each other: within an epoch of a room everybody gets the same events in
// the same order, each once and none left out; what was acked is there once. Hosts may go at any time; people come back, to another one perhaps.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from './client.mjs';

const kWindow = 64;        // sends of one person without an answer
const kAnswerMs = 30_000;  // longer and the connection is given up

export class People {
  // {fleet, count, rooms, random: () => [0, 1)}
  constructor(options) {
    Object.assign(this, options);
    this.everybody = Array.from({ length: this.count }, (_, number) => new Person(this, number));
    this.acked = new Map();   // clientId -> {roomId, id}
    this.seen = new Map();    // "room/epoch/seq" -> event id
    this.counts = { acked: 0, pending: 0, duplicates: 0, events: 0, resumed: 0, reloads: 0 };
    this.wrong = [];
  }

  fail(what) { if (this.wrong.length < 20) this.wrong.push(what); }
  check() { assert.deepEqual(this.wrong, []); }

  async start() {
    for (const person of this.everybody) await person.connect();
    this.ids = await this.everybody[0].join(this.rooms);
    for (const person of this.everybody.slice(1)) await person.join(this.rooms);
  }

  // Sends at `rate` messages a second, all together, until `until()`.
  async chat(rate, until) {
    const began = performance.now();
    let sent = 0;
    while (!until()) {
      const due = Math.floor((performance.now() - began) * rate / 1000);
      for (; sent < due; ++sent) this.everybody[sent % this.count].send();
      for (const person of this.everybody) person.comeBack();
      await sleep(2);
    }
    return { sent, seconds: (performance.now() - began) / 1000 };
  }

  // Until everybody is there, has all answers and has all events.
  async rest(ms) {
    for (const end = Date.now() + ms; ;) {
      for (const person of this.everybody) person.comeBack();
      const why = this.everybody.map((person) => person.unrest()).find(Boolean) ?? this.behind();
      if (!why) return;
      assert.ok(Date.now() < end, `does not come to rest: ${why}`);
      await sleep(50);
    }
  }
  behind() {
    for (const roomId of this.ids) {
      const heads = this.everybody.map((person) => person.points[roomId]?.seq ?? 0);
      const least = Math.min(...heads);
      const most = Math.max(...heads);
      if (least !== most) return `room ${roomId}: somebody is at seq ${least}, another at ${most}`;
    }
    return undefined;
  }

  // From the database: what was acked is there once, and each room without a hole.
  audit() {
    const { fleet } = this;
    const kept = new Map();
    for (const [roomId, id, clientId] of fleet.sql('SELECT room_id, id, client_id FROM messages WHERE client_id IS NOT NULL')) {
      assert.ok(!kept.has(clientId), `${clientId} is there twice`);
      kept.set(clientId, { roomId, id });
    }
    for (const [clientId, message] of this.acked) {
      assert.ok(kept.has(clientId), `${clientId} was acked, and is lost`);
      assert.equal(kept.get(clientId).roomId, message.roomId);
    }
    const holes = fleet.sql(`SELECT r.id, r.ingested_seq, count(e.seq) FROM rooms r LEFT JOIN (SELECT room_id, seq FROM messages UNION SELECT room_id, seq
      FROM room_events) e ON e.room_id = r.id WHERE r.ingested_seq > 0 GROUP BY r.id, r.ingested_seq HAVING count(e.seq) <> r.ingested_seq`);
    assert.deepEqual(holes, [], 'rooms with a hole, or an event too many');
    return new Map(fleet.sql('SELECT id, epoch FROM rooms').map(([id, epoch]) => [id, Number(epoch)]));
  }

  async stop() { await Promise.all(this.everybody.map((person) => person.client?.close())); }
}

class Person {
  constructor(people, number) {
    Object.assign(this, { people, number, points: {}, outbox: new Map(), last: 0, coming: false, client: null });
  }

  async connect() {
    const up = this.people.fleet.up();
    if (up.length === 0) return;
    const { server } = up[Math.floor(this.people.random() * up.length)];
    const resume = Object.fromEntries(Object.entries(this.points).map(([room, { seq, epoch }]) => [room, { seq, epoch }]));
    const client = new Client(server.url);
    client.on = (frame) => this.take(frame);
    const take = client.take.bind(client);
    client.take = (frame) => { this.take(frame); take(frame); client.events.length = 0; };
    client.closed.then(() => { if (this.client === client) this.client = null; });
    await client.open();
    this.missing = new Set(Object.keys(resume));
    const data = this.token ? { token: this.token, resume } : { name: `person-${this.number}` };
    const ready = client.event('ready', () => true, 20_000);
    await client.command('connect', data);
    const { tokens } = await ready;
    this.token ??= tokens?.accessToken;
    this.client = client;
    for (const [clientId, send] of this.outbox) this.ask(clientId, send);
  }

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
    const send = { roomId, since: Date.now() };
    this.outbox.set(clientId, send);
    if (this.client) this.ask(clientId, send);
  }

  ask(clientId, send) {
    const { client, people } = this;
    client.ask('send_message', { roomId: send.roomId, clientId, text: `text of ${clientId}` }).then((answer) => {
      if (!answer.ok) {
        if (!['unavailable', 'rate_limited'].includes(answer.error.code)) people.fail(`${clientId}: ${JSON.stringify(answer.error)}`);
        setTimeout(() => { if (this.client === client && this.outbox.has(clientId)) this.ask(clientId, send); }, answer.error.retryAfterMs ?? 200);
        return;
      }
      const { message, duplicate, pending } = answer.data;
      if (message.text !== `text of ${clientId}`) people.fail(`${clientId} was answered with ${JSON.stringify(message)}`);
      this.outbox.delete(clientId);
      people.acked.set(clientId, { roomId: send.roomId, id: message.id });
      people.counts.acked += 1;
      if (duplicate) people.counts.duplicates += 1;
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
        if (complete && this.points[roomId].seq < to) people.fail(`person ${this.number}: resumed to ${to}, has ${this.points[roomId].seq}`);
        if (!complete) people.counts.reloads += 1;
        if (!complete) this.points[roomId] = { seq: to, epoch, loose: true };
      }
    } else if (data?.seq && data.roomId) {
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
    if (point && !point.loose && point.epoch === epoch && seq !== point.seq + 1) people.fail(`person ${this.number}: ${key} after ${point.seq}`);
    this.points[roomId] = { seq, epoch };
  }

  unrest() {
    if (!this.client) return `person ${this.number} is not there`;
    if (this.outbox.size > 0) return `person ${this.number} has no answer to ${this.outbox.keys().next().value}`;
    return undefined;
  }
}
