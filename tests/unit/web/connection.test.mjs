// The connection's states, its waits and what it does with each way of being refused.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { backoffDelay } from '../../../src/web/js/backoff.js';
import { Connection, State } from '../../../src/web/js/connection.js';
import { CommandError } from '../../../src/web/js/errors.js';
import { limits } from '../../../src/web/js/limits.js';
import { Wire, ann, settle } from './support.mjs';

let wire;
let session;
let connection;
let states;

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] });
  wire = new Wire();
  session = {
    signedIn: true,
    saved: { accessToken: 'new' },
    credentials: async () => ({ token: 'old' }),
    refresh: mock.fn(async () => {}),
    accept: mock.fn(),
    forget: mock.fn(),
  };
  connection = new Connection({
    url: 'ws://host/ws',
    session,
    openSocket: wire.open,
    resumePoints: () => ({ 100: { seq: 7, epoch: 1 } }),
    random: () => 0.5,
  });
  states = [];
  connection.on('state', ({ state }) => states.push(state));
});

afterEach(() => {
  connection.close();
  mock.timers.reset();
});

async function open() {
  connection.open();
  await settle();
}

async function tick(ms) {
  mock.timers.tick(ms);
  await settle();
}

async function lose(code) {
  wire.last.end(code);
  await settle();
}

const delay = () => connection.status.retryAt - Date.now();

test('back-off doubles, has a random part, and is never above half a minute', () => {
  const delays = [0, 1, 2, 3, 4, 5, 9].map((attempt) => backoffDelay(attempt, () => 0));
  assert.deepEqual(delays, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  assert.equal(backoffDelay(0, () => 0.999), 1999);
  assert.equal(backoffDelay(4, () => 1), 17_000);
  assert.equal(backoffDelay(5, () => 1), 30_000);
});

test('connect is the first frame, and says who and where to go on', async () => {
  await open();
  assert.equal(wire.last.protocol, 'ringline.v1');
  wire.last.onopen();
  const data = { token: 'old', resume: { 100: { seq: 7, epoch: 1 } } };
  assert.deepEqual(wire.last.sent, [{ id: 1, cmd: 'connect', data }]);
  await wire.last.ready({ tokens: { accessToken: 'a' } });
  assert.deepEqual(states, [State.CONNECTING, State.CONNECTED]);
  assert.deepEqual(session.accept.mock.calls[0].arguments, [{ accessToken: 'a' }, ann]);
});

test('a lost connection comes back; its open requests are rejected at once', async () => {
  await open();
  await wire.last.ready();
  const request = connection.request('join');
  await lose();
  await assert.rejects(request, { code: 'disconnected' });
  assert.equal(delay(), 1500);
  await tick(1499);
  assert.equal(wire.sockets.length, 1);
  await tick(1);
  assert.equal(wire.sockets.length, 2);
  await wire.last.ready();
  assert.deepEqual(states.slice(1), ['CONNECTED', 'RECONNECTING', 'RECONNECTING', 'CONNECTED']);
});

test('ten attempts, then FAILED; retry starts anew', async () => {
  await open();
  await wire.last.ready();
  await lose();
  for (let attempt = 1; attempt <= limits.attemptsMax; attempt++) {
    assert.equal(connection.status.attempt, attempt);
    await tick(delay());
    assert.equal(wire.sockets.length, 1 + attempt);
    await lose();
  }
  assert.equal(connection.status.state, State.FAILED);
  await tick(3_600_000);
  assert.equal(wire.sockets.length, 11);
  connection.retry();
  await settle();
  assert.equal(connection.status.state, State.CONNECTING);
  await wire.last.ready();
  assert.ok(connection.connected);
});

test('no ready in time counts as lost', async () => {
  await open();
  wire.last.onopen();
  await tick(limits.readyTimeoutMs);
  assert.equal(connection.status.state, State.RECONNECTING);
  assert.ok(wire.last.closed);
});

test('a heartbeat without answer ends the connection, one with keeps it', async () => {
  await open();
  await wire.last.ready();
  await tick(limits.heartbeatMs);
  await wire.last.answer('ping', {});
  await tick(limits.heartbeatTimeoutMs);
  assert.ok(connection.connected);
  await tick(limits.heartbeatMs - limits.heartbeatTimeoutMs);
  await tick(limits.heartbeatTimeoutMs);
  assert.equal(connection.status.state, State.RECONNECTING);
});

test('a probe finds a dead line in seconds, and ends a wait', async () => {
  await open();
  await wire.last.ready();
  connection.probe();
  await tick(limits.probeTimeoutMs);
  assert.equal(connection.status.state, State.RECONNECTING);
  connection.probe();
  await settle();
  assert.equal(wire.sockets.length, 2);
});

test('4001 refreshes first and comes back without a wait', async () => {
  await open();
  await wire.last.ready();
  await lose(4001);
  assert.equal(delay(), 0);
  await tick(0);
  assert.equal(session.refresh.mock.callCount(), 1);
  assert.equal(wire.sockets.length, 2);
});

test('4001 again and again does not become a storm', async () => {
  await open();
  for (let round = 0; round < 3; round++) {
    await lose(4001);
    await tick(round === 0 ? 0 : delay());
  }
  await lose(4001);
  assert.ok(delay() >= 1000);
});

test('an expired token at connect is refreshed once, then it is signed out', async () => {
  const signedOut = mock.fn();
  connection.on('signedOut', signedOut);
  await open();
  wire.last.onopen();
  await wire.last.refuse('connect', { code: 'unauthenticated', reason: 'token_expired' });
  assert.equal(session.refresh.mock.callCount(), 1);
  assert.equal(wire.sockets.length, 2);
  wire.last.onopen();
  await wire.last.refuse('connect', { code: 'unauthenticated', reason: 'token_expired' });
  assert.equal(signedOut.mock.callCount(), 1);
  assert.equal(session.forget.mock.callCount(), 1);
  assert.equal(connection.status.state, State.DISCONNECTED);
});

test('a refresh that the server refuses signs out; one without a network is tried again', async () => {
  session.refresh = mock.fn(async () => { throw new CommandError({ code: 'disconnected' }); });
  await open();
  await wire.last.ready();
  await lose(4001);
  await tick(0);
  assert.equal(connection.status.state, State.RECONNECTING);
  session.refresh = mock.fn(async () => {
    throw new CommandError({ code: 'unauthenticated', reason: 'session_ended' });
  });
  await tick(delay());
  assert.equal(connection.status.state, State.DISCONNECTED);
});

test('codes from 4500 on stay away', async () => {
  for (const [code, state] of [[4500, 'DISCONNECTED'], [4501, 'DISCONNECTED'], [4502, 'FAILED'], [4503, 'FAILED'], [4999, 'FAILED']]) {
    await open();
    await wire.last.ready();
    const count = wire.sockets.length;
    await lose(code);
    assert.equal(connection.status.state, state, String(code));
    connection.probe();
    await tick(3_600_000);
    assert.equal(wire.sockets.length, count, String(code));
  }
});

test('all other codes come back', async () => {
  for (const code of [1000, 1001, 1006, 1009, 1011, 1013, 4000, 4002, 4003, 4499]) {
    await open();
    await wire.last.ready();
    await lose(code);
    assert.equal(connection.status.state, State.RECONNECTING, String(code));
  }
});

test('a rate limit at connect is waited for', async () => {
  await open();
  wire.last.onopen();
  await wire.last.refuse('connect', { code: 'rate_limited', retryAfterMs: 42_000 });
  assert.equal(delay(), 42_000);
});

test('a refused name goes back to the person; tokens are not given up for it', async () => {
  await open();
  wire.last.onopen();
  await wire.last.refuse('connect', { code: 'invalid' });
  assert.equal(connection.status.state, State.RECONNECTING);
  connection.close();

  session.signedIn = false;
  const signedOut = mock.fn();
  connection.on('signedOut', signedOut);
  await open();
  wire.last.onopen();
  await wire.last.refuse('connect', { code: 'invalid', fields: { name: 'too long' } });
  assert.deepEqual(signedOut.mock.calls[0].arguments[0].fields, { name: 'too long' });
});

test('a draining server says when to come back', async () => {
  await open();
  await wire.last.ready();
  wire.last.event('server_draining', { reconnectAfterMs: 8000 });
  await tick(2000);
  await lose(1001);
  assert.ok(connection.status.draining);
  assert.equal(delay(), 6000 + 500);
});

test('token_expiring renews the token of the live connection', async () => {
  await open();
  await wire.last.ready();
  wire.last.event('token_expiring', { expiresAt: 'soon' });
  await settle();
  assert.equal(session.refresh.mock.callCount(), 1);
  assert.deepEqual(wire.last.find('refresh_token').data, { token: 'new' });
});

test('close() while a dial waits for its tokens opens nothing later', async () => {
  connection.open();
  connection.close();
  await settle();
  assert.equal(wire.sockets.length, 0);
  assert.equal(connection.status.state, State.DISCONNECTED);
});

test('requests: answers by id, time-out, bound, rubbish', async () => {
  await open();
  await wire.last.ready();
  mock.method(console, 'warn', () => {});
  wire.last.onmessage({ data: 'rubbish' });
  wire.last.frame({ id: 77, ok: true, data: {} });
  const first = connection.request('a');
  const second = connection.request('b');
  await wire.last.answer('b', { b: 1 });
  await wire.last.refuse('a', { code: 'forbidden', message: 'no' });
  assert.deepEqual(await second, { b: 1 });
  await assert.rejects(first, { code: 'forbidden' });
  const late = connection.request('c', {}, 50);
  mock.timers.tick(50);
  await assert.rejects(late, { code: 'timeout' });
  const all = Array.from({ length: limits.requestsMax + 1 }, () => connection.request('d'));
  await assert.rejects(all.at(-1), { code: 'busy' });
  connection.close();
  for (const one of all) await assert.rejects(one);
  await assert.rejects(connection.request('e'), { code: 'disconnected' });
});
