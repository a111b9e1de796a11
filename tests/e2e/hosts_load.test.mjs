// The judge is judged: the load tool's witness (load.mjs) talks to a server through one that does wrong once, and has to say so.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { Load } from './load.mjs';
import { startServer } from './server.mjs';

const kAfter = 20;  // of each kind, before one is spoiled
const kRun = { people: 3, rooms: 2, rate: 100, seed: 1, seconds: 1.5, restMs: 20_000, moveEvery: 0 };
const kMoving = { moveEvery: 0.3 };
const kAlways = { skip: 0, always: true, ...kMoving };

let server;
before(async () => { server = await startServer({ env: { RATE_LIMIT_GUESTS: '0', RATE_LIMIT_MESSAGES: '0' } }); });
after(() => server?.stop());

const isMessage = (frame) => frame.event === 'message_created';
const isTaken = (frame) => frame.ok && frame.data.message !== undefined;
const isResumed = (frame) => frame.event === 'resumed';
const another = (id) => id.slice(0, -1) + (Number(id.at(-1)) + 1) % 10;
const changed = (change) => (frame) => (change(frame), [frame]);

// Says what the server says, but that of the frames that `fits` one is spoiled, or all from there on: `spoil` gives what is said in its place.
class Spoiler {
  constructor(fits, spoil, { skip = kAfter, always = false } = {}) {
    Object.assign(this, { fits, spoil, skip, always, spoiled: false, held: null });
    this.listener = new WebSocketServer({ host: '127.0.0.1', port: 0, handleProtocols: () => 'ringline.v1' });
    this.listener.on('connection', (client) => this.#join(client));
  }
  get address() { return `127.0.0.1:${this.listener.address().port}`; }
  close() {
    for (const client of this.listener.clients) client.terminate();
    return new Promise((done) => this.listener.close(done));
  }

  #join(client) {
    const behind = new WebSocket(server.url.replace('http', 'ws') + '/ws', 'ringline.v1');
    const early = [];
    client.on('message', (bytes) => (behind.readyState === WebSocket.OPEN ? behind.send(String(bytes)) : early.push(String(bytes))));
    behind.on('open', () => { for (const text of early) behind.send(text); });
    behind.on('message', (bytes) => { for (const text of this.#pass(String(bytes), client)) client.send(text); });
    for (const [one, other] of [[client, behind], [behind, client]]) {
      one.on('close', () => other.terminate());
      one.on('error', () => {});
    }
  }
  #pass(text, client) {
    const frame = JSON.parse(text);
    if (this.held?.client === client && isMessage(frame) && frame.data.roomId === this.held.frame.data.roomId) {
      const late = JSON.stringify(this.held.frame);
      this.held = null;
      return [text, late];
    }
    if ((this.spoiled && !this.always) || !this.fits(frame) || this.skip-- > 0) return [text];
    this.spoiled = true;
    return this.spoil(frame, (held) => { this.held = { client, frame: held }; }).map((one) => JSON.stringify(one));
  }
}

// Both kinds of events that it may be told of are read: those whose fields stand where the server puts them, and others.
const reordered = ({ event, data: { id, ...data } }) => ({ event, data: { id, ...data } });
const cases = {
  'an event is left out': [isMessage, () => [], /seq \d+ after epoch 1, seq \d+/],
  'an event is told twice': [isMessage, (frame) => [frame, frame], /seq (\d+) after epoch 1, seq \1/],
  'an event is told twice, in another form': [isMessage, (frame) => [frame, reordered(frame)], /seq (\d+) after epoch 1, seq \1/],
  'two events are swapped': [isMessage, (frame, hold) => (hold(frame), []), /seq \d+ after epoch 1, seq \d+/],
  'an event has another id': [isMessage, changed((frame) => { frame.data.id = another(frame.data.id); }), /was \d+, and is \d+|is there as \d+ and as \d+|has come as/],
  'an event has another text': [isMessage, changed((frame) => { frame.data.message.text = frame.data.message.text.replace('quick', 'sluggish'); }), /another text than was sent/],
  'an event is of another epoch': [isMessage, changed((frame) => { frame.data.epoch += 1; }), /after epoch/],
  'an answer has another id': [isTaken, changed((frame) => { frame.data.message.id = another(frame.data.message.id); }), /was acked as \d+, and has come as \d+/],
  'an answer has another seq': [isTaken, changed((frame) => { frame.data.message.seq += 1; }), /was acked at seq \d+, and has come at \d+/],
  'an answer has another text': [isTaken, changed((frame) => { frame.data.message.text = 'other'; }), /was answered with another text/],
  'an answer is given twice': [isTaken, (frame) => [frame, frame], /got an answer to \d+ that was not asked for/],
  'an error for good': [isTaken, ({ id }) => [{ id, ok: false, error: { code: 'forbidden', message: 'no' } }], /a send was answered: forbidden/],
  'an answer never comes': [isTaken, () => [], /has no answer to/, { restMs: 500 }],
  'what was missed is too short': [isResumed, changed((frame) => { for (const room of Object.values(frame.data.rooms)) room.to += 1; }), /resumed to room/, kAlways],
  'a room is not resumed': [isResumed, changed((frame) => { delete frame.data.rooms[Object.keys(frame.data.rooms)[0]]; }), /resumed without a word of room/, kAlways],
};

async function judge(spoiler, more = {}) {
  await once(spoiler.listener, 'listening');
  let load;
  try {
    load = await Load.start({ ...kRun, ...more, addresses: [spoiler.address] });
    await load.ended;
    return await load.finish();
  } finally {
    await load?.close();
    await spoiler.close();
  }
}

test('whatever is wrong is found', { concurrency: true }, async (t) => {
  await Promise.all(Object.entries(cases).map(([name, [fits, spoil, says, options = {}]]) => t.test(name, async () => {
    const spoiler = new Spoiler(fits, spoil, options);
    await assert.rejects(judge(spoiler, options), (error) => (assert.match(error.message, says), true));
    assert.ok(spoiler.spoiled);
  })));
});

test('nothing is found where all went well', async () => {
  const { found, acked, seen } = await judge(new Spoiler(() => false), kMoving);
  assert.ok(found.sent > 0 && found.acked === found.sent && acked.length === found.sent && seen.length > found.sent);
  assert.ok(found.resumed > 0 && found.arrivals > kRun.people);
});
