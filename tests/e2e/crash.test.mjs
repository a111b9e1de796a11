// kill -9 under load: clients send, the server dies at a random instant and starts again. After each round: no acked message is missing, none is there
// twice, every room's seq is without gap or reuse, and what any client had seen is there under the same seq.
//
// RINGLINE_CRASH_ROUNDS (100), RINGLINE_CRASH_ACKS (1000: since the restart), RINGLINE_CRASH_SEED. SIGKILL keeps the page cache; what a power cut does is
// tested on the simulated disk (tests/sim).
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Client, get } from './client.mjs';
import { startServer } from './server.mjs';

const kRounds = Number(process.env.RINGLINE_CRASH_ROUNDS ?? 100);
const kAcks = Number(process.env.RINGLINE_CRASH_ACKS ?? 1000);
const kSeed = Number(process.env.RINGLINE_CRASH_SEED ?? Math.floor(Math.random() * 1e9));
const kRooms = ['crash-1', 'crash-2', 'crash-3'];
const kSenders = 12;
const kWindow = 32;  // sends of one client without an answer

let random = kSeed;
function next() {  // mulberry32
  random = (random + 0x6d2b79f5) | 0;
  let t = Math.imul(random ^ (random >>> 15), 1 | random);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}

let server;
before(async () => {
  server = await startServer({ cores: 2, env: { RATE_LIMIT_MESSAGES: '0', RATE_LIMIT_GUESTS: '0', RATE_LIMIT_API_READS: '0', RATE_LIMIT_API_WRITES: '0' } });
});
after(() => server?.stop());

// What must hold, from the clients' side.
const acked = new Map();   // clientId -> {id, seq, roomId}
const seen = new Map();    // roomId/seq -> event id
const heads = new Map();   // roomId -> the highest seq anybody saw

function witness(event) {
  const { roomId, seq, id, epoch } = event;
  assert.equal(epoch, 1, 'a new epoch in strict mode');
  const key = `${roomId}/${seq}`;
  const known = seen.get(key);
  assert.ok(known === undefined || known === id, `seq ${key} was ${known}, is now ${id}`);
  seen.set(key, id);
  heads.set(roomId, Math.max(heads.get(roomId) ?? 0, seq));
}

class Sender {
  constructor(number) {
    this.number = number;
    this.counter = 0;
    this.positions = {};  // resume
    this.unsent = [];     // without an answer when the server died: sent again under the same clientId
  }

  async connect() {
    this.client = await Client.connect(server.url, this.token ? { token: this.token, resume: this.positions } : { name: `sender-${this.number}` });
    if (this.client.ready.tokens) this.token = this.client.ready.tokens.accessToken;
    const resumed = Object.keys(this.positions).length > 0 ? await this.client.event('resumed', () => true, 20000) : null;
    for (const [room, state] of Object.entries(resumed?.rooms ?? {})) assert.ok(state.complete, `room ${room} was not complete: ${JSON.stringify(state)}`);
    if (!this.rooms) {
      this.rooms = [];
      for (const name of kRooms) this.rooms.push((await this.client.command('join', { room: name })).room.id);
    }
  }

  async send(clientId, roomId, text, round) {
    this.unsent.push({ clientId, roomId, text });
    const { message, duplicate } = await this.client.command('send_message', { roomId, clientId, text });
    this.unsent.splice(this.unsent.findIndex((one) => one.clientId === clientId), 1);
    assert.equal(message.text, text);
    const before = acked.get(clientId);
    assert.ok(!before || (before.id === message.id && before.seq === message.seq), `${clientId} became another message`);
    acked.set(clientId, { id: message.id, seq: message.seq, roomId, text });
    round.acks += 1;
    if (duplicate) round.duplicates += 1;
  }

  async run(round) {
    const again = this.unsent;
    this.unsent = [];
    for (const { clientId, roomId, text } of again) await this.send(clientId, roomId, text, round);
    const lane = async () => {
      while (!round.over) {
        const roomId = this.rooms[Math.floor(next() * this.rooms.length)];
        const clientId = `s${this.number}-${this.counter++}`;
        await this.send(clientId, roomId, `${clientId} ${'x'.repeat(Math.floor(next() * 300))}`, round);
      }
    };
    await Promise.all(Array.from({ length: kWindow }, lane));
  }

  collect() {
    assert.equal(this.client.gap, undefined);
    for (const frame of this.client.events) {
      if (frame.data.seq === undefined || !frame.data.roomId) continue;
      witness(frame.data);
    }
    for (const [room, position] of this.client.rooms) this.positions[room] = position;
  }
}

async function killAtRandom(round) {
  while (round.acks < kAcks) await new Promise((resolve) => setTimeout(resolve, 5));
  await new Promise((resolve) => setTimeout(resolve, next() * 40));
  const inFlight = round.senders.reduce((sum, sender) => sum + sender.unsent.length, 0);
  round.over = true;
  await server.kill();
  return inFlight;
}

async function history(roomId, token) {
  const all = [];
  let after = 0;
  for (;;) {
    const { body } = await get(server.url, `/api/v1/rooms/${roomId}/messages?after=${after}&limit=100`, token);
    all.push(...body.messages);
    if (!body.hasAfter) return all;
    after = body.messages.at(-1).seq;
  }
}

test(`kill -9 under load: ${kRounds} rounds of ${kAcks} acks (seed ${kSeed})`, { timeout: 3_600_000 }, async () => {
  const senders = Array.from({ length: kSenders }, (_, number) => new Sender(number));
  let acks = 0;
  for (let number = 1; number <= kRounds; ++number) {
    const round = { acks: 0, duplicates: 0, over: false, senders };
    await Promise.all(senders.map((sender) => sender.connect()));
    const runs = senders.map((sender) => sender.run(round).catch((error) => {
      if (!/^closed/.test(error.message)) throw error;
    }));
    const inFlight = await killAtRandom(round);
    await Promise.all(runs);
    for (const sender of senders) sender.collect();
    acks += round.acks;
    assert.ok(round.acks >= kAcks);
    if (number % 10 === 0 || number === kRounds)
      console.log(`round ${number}: ${round.acks} acks since the restart, ${inFlight} sends in flight at the kill, ${round.duplicates} sent again and known`);
    await server.restart();
  }

  // The end: everything that was acked, once, under its seq; every event from 1 on.
  await Promise.all(senders.map((sender) => sender.connect()));
  const { token, rooms } = senders[0];
  const found = new Map();
  for (const roomId of rooms) {
    let last = 0;
    for (const message of await history(roomId, token)) {
      assert.ok(message.seq > last, 'history out of order');
      last = message.seq;
      assert.ok(!found.has(message.id), 'a message twice');
      found.set(message.id, message);
      const known = seen.get(`${roomId}/${message.seq}`);
      assert.ok(known === undefined || known === message.id, 'another message under a seq that was seen');
    }
  }
  const texts = new Set([...found.values()].map((message) => message.text));
  assert.equal(texts.size, found.size, 'a send is there twice');
  for (const [clientId, { id, seq, text }] of acked) {
    const message = found.get(id);
    assert.ok(message, `acked and gone: ${clientId}`);
    assert.equal(message.seq, seq);
    assert.equal(message.text, text);
  }
  // Each client watched its rooms without a gap (Sender.collect); the first events are the joins, which nobody saw from the start.
  const places = new Set([...found.values()].map((message) => `${message.roomId}/${message.seq}`));
  for (const [roomId, head] of heads)
    for (let seq = kSenders + 2; seq <= head; ++seq)
      assert.ok(seen.has(`${roomId}/${seq}`) || places.has(`${roomId}/${seq}`), `hole at ${roomId}/${seq}`);
  console.log(`${acks} acks in ${kRounds} rounds, ${found.size} messages, nothing lost, nothing twice`);
});
