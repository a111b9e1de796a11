// The outbox: order, one in flight, again under the same clientId, and what a person decides.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { CommandError } from '../../../src/web/js/errors.js';
import { limits } from '../../../src/web/js/limits.js';
import { Delivery, Outbox } from '../../../src/web/js/outbox.js';
import { Memory, settle } from './support.mjs';

let storage;
let outbox;
let sends; // {data, resolve, reject} in order

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  storage = new Memory();
  outbox = make();
});

afterEach(() => mock.timers.reset());

function make() {
  sends = [];
  const made = new Outbox({
    storage,
    send: (data) => new Promise((resolve, reject) => sends.push({ data, resolve, reject })),
  });
  made.restore('1');
  return made;
}

async function ok(index) {
  sends[index].resolve({ message: { id: String(index) } });
  await settle();
}

async function fail(index, error) {
  sends[index].reject(new CommandError(error));
  await settle();
}

async function tick(ms) {
  mock.timers.tick(ms);
  await settle();
}

const texts = () => sends.map(({ data }) => data.text);

test('one at a time in a room, in order; rooms do not wait for each other', async () => {
  outbox.setOnline(true);
  for (const text of ['a', 'b']) outbox.add('r', text);
  outbox.add('other', 'x');
  assert.deepEqual(texts(), ['a', 'x']);
  await ok(0);
  assert.deepEqual(texts(), ['a', 'x', 'b']);
  await ok(1);
  await ok(2);
  assert.deepEqual(outbox.entries, []);
});

test('offline they wait, then go in order; what was in doubt goes again with its clientId', async () => {
  outbox.setOnline(true);
  outbox.add('r', 'a');
  outbox.setOnline(false);
  await fail(0, { code: 'disconnected' });
  outbox.add('r', 'b');
  assert.equal(sends.length, 1);
  assert.deepEqual(outbox.entries.map(({ state }) => state), [Delivery.SENDING, Delivery.SENDING]);
  outbox.setOnline(true);
  await ok(1);
  await ok(2);
  assert.deepEqual(texts(), ['a', 'a', 'b']);
  assert.equal(sends[0].data.clientId, sends[1].data.clientId);
  assert.notEqual(sends[1].data.clientId, sends[2].data.clientId);
  assert.match(sends[0].data.clientId, /^[0-9a-f]{32}$/);
});

test('the rate limit holds the room back, so that nothing overtakes', async () => {
  outbox.setOnline(true);
  for (const text of ['a', 'b']) outbox.add('r', text);
  await fail(0, { code: 'rate_limited', retryAfterMs: 4000 });
  assert.equal(outbox.entries[0].error.retryAt, Date.now() + 4000);
  await tick(3999);
  assert.equal(sends.length, 1);
  await tick(1);
  assert.deepEqual(texts(), ['a', 'a']);
  await ok(1);
  assert.deepEqual(texts(), ['a', 'a', 'b']);
});

test('what is refused fails and lets the next go; a person retries or discards', async () => {
  outbox.setOnline(true);
  for (const text of ['a', 'b', 'c']) outbox.add('r', text);
  await fail(0, { code: 'forbidden' });
  await fail(1, { code: 'too_large' });
  await ok(2);
  assert.deepEqual(outbox.entries.map(({ state }) => state), [Delivery.FAILED, Delivery.FAILED]);
  const [first, second] = outbox.entries;
  outbox.discard(second.clientId);
  outbox.retry(first.clientId);
  assert.equal(sends[3].data.clientId, first.clientId);
  await ok(3);
  assert.deepEqual(outbox.entries, []);
});

test('retries end', async () => {
  outbox.setOnline(true);
  outbox.add('r', 'a');
  for (let retry = 0; retry <= limits.sendRetriesMax; retry++) {
    assert.equal(sends.length, retry + 1);
    await fail(retry, { code: 'unavailable' });
    await tick(limits.sendRetryMs);
  }
  assert.equal(outbox.entries[0].state, Delivery.FAILED);
  assert.equal(sends.length, limits.sendRetriesMax + 1);
});

test('an event that comes before the ack settles it', async () => {
  const sent = mock.fn();
  outbox.on('sent', sent);
  outbox.setOnline(true);
  outbox.add('r', 'a');
  outbox.settle(outbox.entries[0].clientId);
  assert.deepEqual(outbox.entries, []);
  await fail(0, { code: 'timeout' });
  outbox.add('r', 'b');
  assert.deepEqual(texts(), ['a', 'b']);
});

test('what was not sent survives a reload, for its own user only', async () => {
  outbox.add('r', 'a');
  const { clientId } = outbox.entries[0];
  const reloaded = make();
  reloaded.setOnline(true);
  assert.equal(sends[0].data.clientId, clientId);
  reloaded.restore('2');
  assert.deepEqual(reloaded.entries, []);
});

test('it is bounded, and does without storage', () => {
  storage.getItem = storage.setItem = () => { throw new Error('forbidden'); };
  outbox = make();
  for (let count = 0; count < limits.outboxMax; count++) outbox.add('r', 'a');
  assert.ok(outbox.full);
});
