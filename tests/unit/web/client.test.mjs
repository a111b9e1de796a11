// The parts joined: joining, coming back, loading again, sending, leaving.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { Client, Older } from '../../../src/web/js/client.js';
import { limits } from '../../../src/web/js/limits.js';
import { Session } from '../../../src/web/js/session.js';
import { Memory, Wire, ann, bob, created, kRoom, message, settle, snapshot } from './support.mjs';

let wire;
let client;
let fetch;

beforeEach(async () => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] });
  wire = new Wire();
  fetch = mock.fn(async () => new Response(null, { status: 204 }));
  client = new Client({
    url: 'ws://host/ws',
    session: new Session(new Memory(), fetch),
    storage: new Memory(),
    openSocket: wire.open,
    random: () => 0,
  });
  client.enter('Ann');
  await settle();
  await wire.last.ready({ tokens: { accessToken: 'a', refreshToken: 'r', expiresIn: 900 } });
});

afterEach(() => {
  client.connection.close();
  mock.timers.reset();
});

async function comeBack() {
  wire.last.end(1006);
  mock.timers.tick(1000);
  await settle();
  await wire.last.ready();
}

const seqs = () => client.room.messages.map(({ seq }) => seq);
const join = (options) => wire.last.answer('join', snapshot(options));

test('it joins the lobby and then sends what was written', async () => {
  assert.equal(client.send('too early'), false);
  assert.deepEqual(wire.last.find('join').data, { room: 'lobby' });
  await join();
  assert.ok(client.send('hello'));
  const { data } = wire.last.find('send_message');
  assert.deepEqual([data.roomId, data.text], [kRoom, 'hello']);
  await wire.last.answer('send_message', { message: message(4, { sender: ann }) });
  wire.last.event('message_created', { ...created(4, { sender: ann }), clientId: data.clientId });
  assert.deepEqual(seqs(), [1, 2, 3, 4]);
  assert.deepEqual(client.outbox.entries, []);
});

test('the event may be first, and settles what is sent', async () => {
  await join();
  client.send('hello');
  const { clientId } = wire.last.find('send_message').data;
  wire.last.event('message_created', { ...created(4, { sender: bob }), clientId });
  assert.equal(client.outbox.entries.length, 1, 'a clientId of somebody else is not mine');
  wire.last.event('message_created', { ...created(5, { sender: ann }), clientId });
  assert.equal(client.outbox.entries.length, 0);
  await wire.last.answer('send_message', { message: message(5, { sender: ann }) });
  assert.deepEqual(seqs(), [1, 2, 3, 4, 5]);
});

test('a refused join is repeated while there is hope', async () => {
  const trouble = mock.fn();
  client.on('trouble', trouble);
  await wire.last.refuse('join', { code: 'rate_limited', retryAfterMs: 5000 });
  const { id } = wire.last.find('join');
  mock.timers.tick(5000);
  assert.notEqual(wire.last.find('join').id, id);
  await wire.last.refuse('join', { code: 'forbidden' });
  assert.equal(trouble.mock.calls[0].arguments[0].code, 'forbidden');
});

test('it comes back where it was: resume, missed events, members again, then the outbox', async () => {
  await join();
  wire.last.event('message_created', created(4));
  client.send('in doubt');
  await comeBack();
  const { token, resume } = wire.last.find('connect').data;
  assert.deepEqual([token, resume], ['a', { [kRoom]: { seq: 4, epoch: 1 } }]);
  wire.last.event('message_created', created(5));
  wire.last.event('resumed', { rooms: { [kRoom]: { from: 4, to: 5, epoch: 1, complete: true } } });
  assert.equal(wire.last.find('send_message'), undefined);
  await join({ lastSeq: 5, members: [] });
  assert.deepEqual(seqs(), [1, 2, 3, 4, 5]);
  assert.equal(client.room.members.size, 0);
  assert.equal(wire.last.find('send_message').data.text, 'in doubt');
  assert.equal(wire.last.find('get_history'), undefined);
});

test('what cannot be resumed is loaded again by get_history', async () => {
  await join();
  await comeBack();
  await join();
  wire.last.event('resumed', { rooms: { [kRoom]: { from: 3, to: 2, epoch: 7, complete: false } } });
  assert.deepEqual(wire.last.find('get_history').data, { roomId: kRoom, limit: limits.historyPage });
  await wire.last.answer('get_history', { messages: [message(1)], hasBefore: false, hasAfter: false });
  assert.deepEqual(seqs(), [1]);
  assert.deepEqual(client.store.resumePoints(), { [kRoom]: { seq: 2, epoch: 7 } });
});

test('older history: a page before the first, once at a time, and again after a failure', async () => {
  const page = Array.from({ length: limits.historyPage }, (_, index) => message(index + 101));
  await join({ lastSeq: 150, messages: page });
  assert.equal(client.older(), Older.MORE);
  client.loadOlder();
  client.loadOlder();
  assert.equal(wire.last.sent.filter(({ cmd }) => cmd === 'get_history').length, 1);
  assert.equal(client.older(), Older.LOADING);
  assert.equal(wire.last.find('get_history').data.before, 101);
  await wire.last.refuse('get_history', { code: 'unavailable' });
  assert.equal(client.older(), Older.FAILED);
  client.loadOlder();
  await wire.last.answer('get_history', { messages: [message(100)], hasBefore: false, hasAfter: true });
  assert.equal(client.older(), Older.END);
  assert.equal(seqs()[0], 100);
});

test('typing needs no answer and is silent without a connection', async () => {
  await join();
  client.setTyping(true);
  client.setTyping(false);
  const frames = wire.last.sent.slice(-2);
  assert.deepEqual(frames, ['start_typing', 'stop_typing'].map((cmd) => ({ cmd, data: { roomId: kRoom } })));
  wire.last.end(1006);
  client.setTyping(true);
});

test('leaving forgets everything but the name', async () => {
  await join();
  client.send('never sent');
  await client.leave();
  assert.equal(client.signedIn, false);
  assert.equal(client.name, 'Ann');
  assert.equal(client.room, undefined);
  assert.deepEqual(client.outbox.entries, []);
  assert.equal(fetch.mock.calls[0].arguments[0], '/api/v1/auth/logout');
});

test('a session that has ended empties the page and asks for a name', async () => {
  const signedOut = mock.fn();
  client.on('signedOut', signedOut);
  await join();
  wire.last.end(4501);
  assert.equal(signedOut.mock.calls[0].arguments[0].reason, 'session_ended');
  assert.equal(client.room, undefined);
});
