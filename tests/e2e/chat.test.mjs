// The chat through its doors, on the real server with two cores: plain WebSocket, stock socket.io-client, REST.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { io } from 'socket.io-client';
import { Client, get, post, put } from './client.mjs';
import { startServer } from './server.mjs';

let server;
let url;
before(async () => {
  server = await startServer({ cores: 2, env: { RATE_LIMIT_GUESTS: '0', RATE_LIMIT_MESSAGES: '100', BCRYPT_COST: '4', RATE_LIMIT_API_WRITES: '1000' } });
  url = server.url;
});
after(() => server?.stop());

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let unique = 0;
const name = (prefix) => `${prefix}-${process.pid}-${unique++}`;

async function pair(room = name('room')) {
  const ann = await Client.connect(url, { name: name('ann') });
  const bob = await Client.connect(url, { name: name('bob') });
  const joined = await ann.command('join', { room });
  await bob.command('join', { room });
  return { ann, bob, roomId: joined.room.id, room };
}

test('ready says who, which rooms, with which limits', async () => {
  const ann = await Client.connect(url, { name: 'Ann of Ready' });
  const { ready } = ann;
  assert.equal(ready.protocol, 1);
  assert.equal(ready.user.username, 'Ann of Ready');
  assert.equal(ready.user.guest, true);
  assert.equal(ready.connectionId, ann.connectData.connectionId);
  assert.deepEqual(ready.rooms, []);
  assert.ok(ready.tokens.accessToken && ready.tokens.refreshToken && ready.tokens.expiresIn === 900);
  assert.match(ready.serverTime, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.equal(ready.limits.textLength, 4000);
  await ann.close();
});

test('the lobby is there, public, and nobody is in it before joining', async () => {
  const ann = await Client.connect(url, { name: name('ann') });
  const { room, user, members, messages } = await ann.command('join', { room: 'lobby' });
  assert.equal(room.name, 'lobby');
  assert.equal(room.private, false);
  assert.equal(room.type, 'group');
  assert.equal(user.id, ann.ready.user.id);
  assert.ok(members.some((member) => member.user.id === user.id && member.online));
  assert.ok(Array.isArray(messages));
  await ann.close();
});

test('a message: ack with id and seq, the same event for everybody, the sender too', async () => {
  const { ann, bob, roomId } = await pair();
  const { message } = await ann.command('send_message', { roomId, clientId: 'c-1', text: 'hello <script>alert(1)</script>' });
  assert.equal(message.text, 'hello <script>alert(1)</script>');
  assert.equal(message.roomId, roomId);
  assert.equal(message.sender.id, ann.ready.user.id);
  for (const client of [ann, bob]) {
    const event = await client.event('message_created', (data) => data.message.id === message.id);
    assert.equal(event.seq, message.seq);
    assert.equal(event.id, message.id);
    assert.equal(event.clientId, 'c-1');
    assert.equal(event.epoch, 1);
    assert.deepEqual(event.message, message);
  }
  assert.equal(ann.gap, undefined);
  await Promise.all([ann.close(), bob.close()]);
});

test('sent again with the same clientId: the first message, over another connection too, after a restart too', async () => {
  const { ann, bob, roomId } = await pair();
  const first = await ann.command('send_message', { roomId, clientId: 'again', text: 'once' });
  const again = await ann.command('send_message', { roomId, clientId: 'again', text: 'twice' });
  assert.equal(again.duplicate, true);
  assert.deepEqual(again.message, first.message);
  const token = ann.ready.tokens.accessToken;
  const other = await Client.connect(url, { token });
  const third = await other.command('send_message', { roomId, clientId: 'again', text: 'thrice' });
  assert.equal(third.message.id, first.message.id);
  // another sender's key is his own
  const bobs = await bob.command('send_message', { roomId, clientId: 'again', text: 'mine' });
  assert.notEqual(bobs.message.id, first.message.id);
  await server.restart();
  const later = await Client.connect(url, { token });
  const fourth = await later.command('send_message', { roomId, clientId: 'again', text: 'after the restart' });
  assert.equal(fourth.duplicate, true);
  assert.equal(fourth.message.id, first.message.id);
  await later.close();
});

test('two at once with the same clientId become one message', async () => {
  const { ann, roomId } = await pair();
  const answers = await Promise.all(Array.from({ length: 20 }, () => ann.command('send_message', { roomId, clientId: 'burst', text: 'x' })));
  assert.equal(new Set(answers.map((answer) => answer.message.id)).size, 1);
  assert.equal(answers.filter((answer) => !answer.duplicate).length, 1);
});

test('order: every member sees the same seqs without a gap', async () => {
  const { ann, bob, roomId } = await pair();
  await Promise.all(Array.from({ length: 40 }, (_, i) => (i % 2 ? ann : bob).command('send_message', { roomId, text: `m${i}` })));
  await sleep(300);
  const [a, b] = [ann.messages(roomId), bob.messages(roomId)];
  assert.equal(a.length, 40);
  assert.deepEqual(a.map((m) => m.id), b.map((m) => m.id));
  assert.equal(ann.gap, undefined);
  assert.equal(bob.gap, undefined);
});

test('history pages: newest, before, after, around, aroundId; tail and store join without a hole', async () => {
  const { ann, roomId } = await pair();
  const sent = [];
  for (let i = 0; i < 30; ++i) sent.push((await ann.command('send_message', { roomId, text: `h${i}` })).message);
  const check = async () => {
    const newest = await ann.command('get_history', { roomId, limit: 10 });
    assert.deepEqual(newest.messages.map((m) => m.text), sent.slice(20).map((m) => m.text));
    assert.deepEqual([newest.hasBefore, newest.hasAfter], [true, false]);
    const before = await ann.command('get_history', { roomId, before: sent[20].seq, limit: 20 });
    assert.deepEqual(before.messages.map((m) => m.id), sent.slice(0, 20).map((m) => m.id));
    assert.deepEqual([before.hasBefore, before.hasAfter], [false, true]);
    const after = await ann.command('get_history', { roomId, after: sent[4].seq, limit: 5 });
    assert.deepEqual(after.messages.map((m) => m.id), sent.slice(5, 10).map((m) => m.id));
    assert.deepEqual([after.hasBefore, after.hasAfter], [true, true]);
    const around = await ann.command('get_history', { roomId, around: sent[15].seq, limit: 6 });
    assert.deepEqual(around.messages.map((m) => m.id), sent.slice(12, 18).map((m) => m.id));
    const aroundId = await ann.command('get_history', { roomId, aroundId: sent[15].id, limit: 6 });
    assert.deepEqual(aroundId.messages, around.messages);
  };
  await check();
  const token = ann.ready.tokens.accessToken;
  await server.restart();  // now all of it is in the store
  const again = await Client.connect(url, { token });
  ann.command = again.command.bind(again);
  await check();
  sent.push((await again.command('send_message', { roomId, text: 'h30' })).message);  // tail and store
  const joined = await again.command('get_history', { roomId, limit: 5 });
  assert.deepEqual(joined.messages.map((m) => m.id), sent.slice(26).map((m) => m.id));
  const both = await again.command('get_history', { roomId, after: sent[27].seq, limit: 5 });
  assert.deepEqual(both.messages.map((m) => m.id), sent.slice(28).map((m) => m.id));
});

test('resume: exactly what followed, in order, then `resumed`; another epoch or a seq above reloads', async () => {
  const { ann, bob, roomId } = await pair();
  const first = await ann.command('send_message', { roomId, text: 'seen' });
  await bob.event('message_created', (data) => data.message.text === 'seen');
  const token = bob.ready.tokens.accessToken;
  await bob.close();
  const missed = [];
  for (let i = 0; i < 5; ++i) missed.push((await ann.command('send_message', { roomId, text: `missed ${i}` })).message.id);
  const back = await Client.connect(url, { token, resume: { [roomId]: { seq: first.message.seq, epoch: 1 } } });
  const resumed = await back.event('resumed');
  assert.deepEqual(resumed.rooms[roomId], { from: first.message.seq, to: first.message.seq + 5, epoch: 1, complete: true });
  assert.deepEqual(back.messages(roomId).map((m) => m.id), missed);
  const order = back.events.map((frame) => frame.event);
  assert.equal(order[0], 'ready');
  assert.ok(order.indexOf('resumed') > order.lastIndexOf('message_created'));
  await ann.command('send_message', { roomId, text: 'live' });
  await back.event('message_created', (data) => data.message.text === 'live');
  assert.equal(back.messages(roomId).length, 6);
  for (const wrong of [{ seq: first.message.seq, epoch: 7 }, { seq: 1e9, epoch: 1 }]) {
    const reload = await Client.connect(url, { token, resume: { [roomId]: wrong } });
    assert.equal((await reload.event('resumed')).rooms[roomId].complete, false);
    assert.equal(reload.messages(roomId).length, 0);
    await reload.close();
  }
  const stranger = await Client.connect(url, { name: name('eve'), resume: { [roomId]: { seq: 0, epoch: 1 } } });
  assert.equal((await stranger.event('resumed')).rooms[roomId].complete, false);
});

test('rooms: create, list, search, get, join, leave, members; public names are unique', async () => {
  const ann = await Client.connect(url, { name: name('ann') });
  const bob = await Client.connect(url, { name: name('bob') });
  const title = name('Club');
  const { room } = await ann.command('create_room', { type: 'group', name: title, description: 'for tests' });
  assert.equal(room.role, 'owner');
  await ann.event('room_created', (data) => data.roomId === room.id);
  const taken = await bob.ask('create_room', { type: 'group', name: title.toUpperCase() });
  assert.equal(taken.error.code, 'conflict');
  assert.ok((await bob.command('list_rooms', {})).rooms.some((one) => one.id === room.id));
  assert.equal((await bob.command('search_rooms', { query: title.slice(0, 8) })).rooms.some((one) => one.id === room.id), true);
  assert.equal((await bob.ask('send_message', { roomId: room.id, text: 'x' })).error.code, 'forbidden');
  const joined = await bob.command('join_room', { roomId: room.id });
  assert.equal(joined.room.role, 'member');
  assert.equal((await ann.event('member_joined', (data) => data.roomId === room.id)).member.user.id, bob.ready.user.id);
  assert.equal((await bob.command('list_members', { roomId: room.id })).members.length, 2);
  await bob.command('leave_room', { roomId: room.id });
  assert.equal((await ann.event('member_left', (data) => data.roomId === room.id)).reason, 'left');
  assert.equal((await bob.ask('send_message', { roomId: room.id, text: 'x' })).error.code, 'forbidden');
  const { room: secret } = await ann.command('create_room', { type: 'group', name: 'secret', private: true });
  assert.equal((await bob.ask('get_room', { roomId: secret.id })).error.code, 'not_found');
  assert.equal((await bob.ask('join_room', { roomId: secret.id })).error.code, 'not_found');
  assert.equal((await bob.ask('get_history', { roomId: secret.id })).error.code, 'not_found');
});

test('a direct room of two people is one, however often it is asked for; both hear it', async () => {
  const ann = await Client.connect(url, { name: name('ann') });
  const bob = await Client.connect(url, { name: name('bob') });
  const first = await ann.command('create_room', { type: 'direct', memberIds: [bob.ready.user.id] });
  await bob.event('room_created', (data) => data.roomId === first.room.id);
  const second = await bob.command('create_room', { type: 'direct', memberIds: [ann.ready.user.id] });
  assert.equal(second.room.id, first.room.id);
  await bob.command('send_message', { roomId: first.room.id, text: 'psst' });
  await ann.event('message_created', (data) => data.message.text === 'psst');
});

test('in a channel only owner and admins send', async () => {
  const ann = await Client.connect(url, { name: name('ann') });
  const bob = await Client.connect(url, { name: name('bob') });
  const { room } = await ann.command('create_room', { type: 'channel', name: name('news') });
  await bob.command('join_room', { roomId: room.id });
  assert.equal((await bob.ask('send_message', { roomId: room.id, text: 'x' })).error.code, 'forbidden');
  await ann.command('send_message', { roomId: room.id, text: 'extra' });
  await bob.event('message_created', (data) => data.message.text === 'extra');
});

test('every connection of a user hears a room that one of them joins', async () => {
  const one = await Client.connect(url, { name: name('ann') });
  const two = await Client.connect(url, { token: one.ready.tokens.accessToken });
  const { room } = await one.command('join', { room: name('both') });
  await one.command('send_message', { roomId: room.id, text: 'to my other device' });
  await two.event('message_created', (data) => data.message.text === 'to my other device');
});

// One of the user, on each of the two cores.
async function onBothCores(client) {
  const tries = [];
  for (let i = 0; i < 64; ++i) {
    const other = await Client.connect(url, { token: client.ready.tokens.accessToken });
    if (other.core !== client.core) {
      await Promise.all(tries.map((one) => one.close()));
      return [client, other];
    }
    tries.push(other);
    if (tries.length === 8) await Promise.all(tries.splice(0).map((one) => one.close()));
  }
  throw new Error('all connections came to one core');
}

test('what one has not read is counted the same on both cores, and past a restart', async () => {
  const { ann, bob, roomId } = await pair();
  const [one, two] = await onBothCores(bob);
  const token = bob.ready.tokens.accessToken;
  const seen = async (client) => {
    const { room } = await client.command('get_room', { roomId });
    return [room.lastReadSeq, room.unread];
  };
  const seqs = [];
  for (let i = 0; i < 5; ++i) seqs.push((await ann.command('send_message', { roomId, text: `${i}` })).message.seq);
  for (const client of [one, two]) assert.equal((await seen(client))[1], 5);
  assert.deepEqual(await one.command('mark_read', { roomId, seq: seqs[1] }), {});
  for (const client of [one, two]) {
    assert.deepEqual(await client.event('unread_changed'), { roomId, unread: 3, mentions: 0 });
    assert.deepEqual(await seen(client), [seqs[1], 3]);
  }
  assert.deepEqual(await two.command('mark_read', { roomId, seq: seqs[0] }), {}, 'it only moves forward');
  assert.deepEqual(await put(url, `/api/v1/rooms/${roomId}/read`, { seq: seqs[2] }, token), { status: 200, body: {} });
  for (const client of [one, two]) {
    await client.event('unread_changed', ({ unread }) => unread === 2);
    assert.deepEqual(await seen(client), [seqs[2], 2]);
  }
  const wrong = await put(url, `/api/v1/rooms/${roomId}/read`, { seq: seqs[4] + 1 }, token);
  assert.equal(wrong.status, 400);
  assert.ok(wrong.body.fields.seq);
  assert.equal((await one.ask('mark_read', { roomId })).error.code, 'invalid');
  const stranger = await Client.connect(url, { name: name('eve') });
  assert.equal((await stranger.ask('mark_read', { roomId, seq: 1 })).error.code, 'forbidden');

  const own = (await two.command('send_message', { roomId, text: 'mine' })).message.seq;
  for (const client of [one, two]) {
    await client.event('unread_changed', ({ unread }) => unread === 0);
    assert.deepEqual(await seen(client), [own, 0]);
    assert.deepEqual(client.events.filter(({ event }) => event === 'unread_changed').map(({ data }) => data.unread), [3, 2, 0]);
  }
  assert.ok(!ann.events.some(({ event }) => event === 'unread_changed'));
  const last = (await ann.command('send_message', { roomId, text: 'one more' })).message.seq;
  await ann.command('send_message', { roomId, text: 'and another' });
  await one.command('mark_read', { roomId, seq: last });
  await server.restart();
  const back = await Client.connect(url, { token });
  const { lastReadSeq, unread } = back.ready.rooms.find(({ id }) => id === roomId);
  assert.deepEqual([lastReadSeq, unread], [last, 1]);
});

test('typing starts, ends, and ends by itself', async () => {
  const { ann, bob, roomId } = await pair();
  await ann.command('start_typing', { roomId });
  const typing = await bob.event('typing_started', (data) => data.roomId === roomId);
  assert.equal(typing.userId, ann.ready.user.id);
  assert.equal(typing.username, ann.ready.user.username);
  await ann.command('stop_typing', { roomId });
  await bob.event('typing_stopped', (data) => data.userId === ann.ready.user.id);
  bob.events = [];
  await ann.command('start_typing', { roomId });
  await bob.event('typing_started');
  await bob.event('typing_stopped', () => true, 7000);
});

test('presence: who comes and goes', async () => {
  const { ann, bob } = await pair();
  bob.events = [];
  await sleep(1100);  // at most one a second
  await ann.close();
  const gone = await bob.event('presence_changed', (data) => data.userId === ann.ready.user.id && data.status === 'offline');
  assert.match(gone.lastSeen, /Z$/);
  await sleep(1100);
  const back = await Client.connect(url, { token: ann.ready.tokens.accessToken });
  await bob.event('presence_changed', (data) => data.userId === ann.ready.user.id && data.status === 'online');
  assert.equal((await bob.command('get_user', { userId: ann.ready.user.id })).user.status, 'online');
  await back.close();
});

test('guests: a name that is taken gets a number; the tokens make the same guest', async () => {
  const title = name('Twin');
  const one = await Client.connect(url, { name: title });
  const two = await Client.connect(url, { name: title.toLowerCase() });
  assert.equal(one.ready.user.username, title);
  assert.equal(two.ready.user.username, `${title.toLowerCase()}-2`);
  const again = await Client.connect(url, { token: one.ready.tokens.accessToken });
  assert.equal(again.ready.user.id, one.ready.user.id);
  assert.equal(again.ready.tokens, undefined);
});

test('at most 20 connections a user', async () => {
  const first = await Client.connect(url, { name: name('many') });
  const token = first.ready.tokens.accessToken;
  const others = [];
  for (let i = 0; i < 19; ++i) others.push(await Client.connect(url, { token }));
  const tooMany = new Client(url);
  await tooMany.open();
  const refused = await tooMany.ask('connect', { token });
  assert.equal(refused.error.code, 'rate_limited');
  assert.equal((await tooMany.closed).code, 4503);
  await Promise.all(others.map((one) => one.close()));
});

test('watch_stats brings server_stats', async () => {
  const ann = await Client.connect(url, { name: name('ann') });
  await ann.command('watch_stats', {});
  const stats = await ann.event('server_stats', () => true, 6000);
  for (const field of ['connections', 'users', 'activeUsers', 'rooms', 'messagesPerSecond']) assert.equal(typeof stats[field], 'number');
  assert.ok(stats.connections >= 1);
});

test('stock socket.io-client and /ws chat with each other', async () => {
  const plain = await Client.connect(url, { name: name('plain') });
  const { room } = await plain.command('join', { room: name('mixed') });
  const socket = io(url, { transports: ['websocket'], auth: { name: name('stock') } });
  const ready = await new Promise((resolve, reject) => (socket.once('ready', resolve), socket.once('connect_error', reject)));
  assert.equal(ready.protocol, 1);
  const joined = await socket.emitWithAck('join', { room: room.name });
  assert.equal(joined.ok, true);
  const heard = new Promise((resolve) => socket.on('message_created', resolve));
  await plain.command('send_message', { roomId: room.id, text: 'to socket.io' });
  assert.equal((await heard).message.text, 'to socket.io');
  const sent = await socket.emitWithAck('send_message', { roomId: room.id, text: 'from socket.io' });
  assert.equal(sent.data.message.text, 'from socket.io');
  await plain.event('message_created', (data) => data.message.text === 'from socket.io');
  const failed = new Promise((resolve) => socket.on('command_failed', resolve));
  socket.emit('no_such_command', {});
  assert.deepEqual([(await failed).cmd, (await failed).error.code], ['no_such_command', 'invalid']);
  assert.equal((await socket.emitWithAck('ping')).ok, true);
  assert.equal((await socket.emitWithAck('ping', {}, {})).error.code, 'invalid');
  socket.disconnect();
});

test('Socket.IO: a bad token is a CONNECT_ERROR with the error', async () => {
  const socket = io(url, { transports: ['websocket'], auth: { token: 'rubbish' }, reconnection: false });
  const error = await new Promise((resolve) => socket.once('connect_error', resolve));
  assert.equal(error.message, 'unauthenticated');
  assert.equal(error.data.reason, 'token_invalid');
  socket.disconnect();
});

test('accounts: register, sign in, refresh, sign out', async () => {
  const username = name('Carla');
  const made = await post(url, '/api/v1/auth/register', { username, password: 'correct horse' });
  assert.equal(made.status, 201);
  assert.equal(made.body.user.username, username);
  assert.equal(made.body.user.guest, false);
  assert.equal((await post(url, '/api/v1/auth/register', { username: username.toUpperCase(), password: 'correct horse' })).status, 409);
  assert.equal((await post(url, '/api/v1/auth/register', { username: name('x'), password: 'short' })).body.fields.password !== undefined, true);
  const wrong = await post(url, '/api/v1/auth/login', { username, password: 'wrong horse' });
  assert.deepEqual([wrong.status, wrong.body.code, wrong.body.reason], [401, 'unauthenticated', 'wrong_password']);
  assert.equal(wrong.headers.get('content-type'), 'application/problem+json');
  assert.equal((await post(url, '/api/v1/auth/login', { username: 'nobody-at-all', password: 'wrong horse' })).body.reason, 'wrong_password');
  const { body: pair1 } = await post(url, '/api/v1/auth/login', { username, password: 'correct horse' });
  const { body: pair2 } = await post(url, '/api/v1/auth/refresh', { refreshToken: pair1.refreshToken });
  const { body: pair2again } = await post(url, '/api/v1/auth/refresh', { refreshToken: pair1.refreshToken });
  assert.equal(pair2again.refreshToken, pair2.refreshToken, 'the one before the newest gets the same pair');
  const { body: pair3 } = await post(url, '/api/v1/auth/refresh', { refreshToken: pair2.refreshToken });
  const reused = await post(url, '/api/v1/auth/refresh', { refreshToken: pair1.refreshToken });
  assert.equal(reused.body.reason, 'session_ended');
  assert.equal((await post(url, '/api/v1/auth/refresh', { refreshToken: pair3.refreshToken })).body.reason, 'session_ended');
  const { body: other } = await post(url, '/api/v1/auth/login', { username, password: 'correct horse' });
  const client = await Client.connect(url, { token: other.accessToken });
  assert.equal((await post(url, '/api/v1/auth/logout', undefined, other.accessToken)).status, 204);
  assert.equal((await client.closed).code, 4501);
  assert.equal((await get(url, '/api/v1/rooms', other.accessToken)).body.reason, 'session_ended');
});

test('a guest becomes an account and keeps his id and rooms', async () => {
  const guest = await Client.connect(url, { name: name('visitor') });
  const { room } = await guest.command('join', { room: name('kept') });
  const username = name('Settled');
  const { status, body } = await post(url, '/api/v1/auth/register', { username, password: 'correct horse' }, guest.ready.tokens.accessToken);
  assert.equal(status, 201);
  assert.equal(body.user.id, guest.ready.user.id);
  const account = await Client.connect(url, { token: body.accessToken });
  assert.equal(account.ready.user.guest, false);
  assert.ok(account.ready.rooms.some((one) => one.id === room.id));
});

test('REST and socket are two doors to the same commands', async () => {
  const ann = await Client.connect(url, { name: name('ann') });
  const token = ann.ready.tokens.accessToken;
  const made = await post(url, '/api/v1/rooms', { type: 'group', name: name('Rest') }, token);
  assert.equal(made.status, 201);
  const roomId = made.body.room.id;
  assert.equal(made.headers.get('location'), `/api/v1/rooms/${roomId}`);
  const sent = await post(url, `/api/v1/rooms/${roomId}/messages`, { text: 'by REST' }, token, { 'Idempotency-Key': 'key-1' });
  assert.equal(sent.status, 201);
  await ann.event('message_created', (data) => data.message.id === sent.body.message.id);
  const again = await post(url, `/api/v1/rooms/${roomId}/messages`, { text: 'by REST' }, token, { 'Idempotency-Key': 'key-1' });
  assert.equal(again.body.message.id, sent.body.message.id);
  const page = await get(url, `/api/v1/rooms/${roomId}/messages?limit=5`, token);
  assert.deepEqual(page.body.messages.map((m) => m.text), ['by REST']);
  assert.ok(Number(page.headers.get('ratelimit-limit')) > 0);
  assert.equal((await get(url, '/api/v1/rooms')).status, 401);
  assert.equal((await get(url, '/api/v1/rooms')).headers.get('www-authenticate'), 'Bearer');
  assert.equal((await get(url, '/api/v1/nothing', token)).status, 404);
  const wrongMethod = await fetch(`${url}/api/v1/rooms`, { method: 'PUT', headers: { Authorization: `Bearer ${token}` } });
  assert.equal(wrongMethod.status, 405);
  assert.equal(wrongMethod.headers.get('allow'), 'POST, GET, HEAD, OPTIONS');
});
