// Two hosts of one service, on one PostgreSQL and one Redis: who is at either sees the same.
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Client, get, post } from './client.mjs';
import { Fleet, kFleetMissing } from './fleet.mjs';
import { prepareServer, until } from './server.mjs';

const kSkip = kFleetMissing ? `no ${kFleetMissing}` : false;
const kSlow = 20_000;  // sanitizers

let fleet, one, two;
before(async () => {
  if (kSkip) return;
  fleet = await Fleet.start({ hosts: 2, cores: 2, env: { BCRYPT_COST: '4', RATE_LIMIT_MESSAGES: '150', RATE_LIMIT_WINDOW: '1h' } });
  [one, two] = fleet.hosts.map(({ server }) => server);
});
after(() => fleet?.stop());

let unique = 0;
const name = (prefix) => `${prefix}-${process.pid}-${unique++}`;
const say = (who, roomId, text, clientId) => who.command('send_message', { roomId, text, ...(clientId && { clientId }) });
const texts = (who, roomId) => who.messages(roomId).filter(({ seq }) => seq).map(({ text }) => text);
const component = async (server, part) => (await get(server.url, '/readyz?verbose')).body.components[part];
const well = (server) => until(async () => (await component(server, 'redis')) === 'ok', 'Redis is well');

// Ann is at the first host, Bob at the second.
async function pair() {
  const ann = await Client.connect(one.url, { name: name('ann') });
  const bob = await Client.connect(two.url, { name: name('bob') });
  const room = name('room');
  const joined = await ann.command('join', { room });
  const { room: same } = await bob.command('join', { room });
  assert.equal(same.id, joined.room.id, 'one room by that name');
  await ann.event('member_joined', ({ member }) => member.user.id === bob.ready.user.id, kSlow);
  return { ann, bob, roomId: same.id, room };
}

test('members at both hosts get the same messages in the same order, each once', { skip: kSkip }, async () => {
  const { ann, bob, roomId } = await pair();
  const sends = Array.from({ length: 100 }, (_, i) => say(i % 2 ? ann : bob, roomId, `m${i}`, `c${i}`));
  const answers = await Promise.all(sends);
  for (const who of [ann, bob]) {
    await until(() => who.messages(roomId).length >= 100, 'all have come');
    assert.deepEqual(who.messages(roomId).map(({ id }) => id), answers.map(({ message }) => message).sort((a, b) => a.seq - b.seq).map(({ id }) => id));
    assert.equal(who.gap, undefined);
  }
  const again = await say(await Client.connect(two.url, { token: ann.ready.tokens.accessToken }), roomId, 'twice', 'c1');
  assert.deepEqual([again.duplicate, again.message.id], [true, answers[1].message.id]);
  let stored;
  const query = `SELECT count(*), count(DISTINCT id) FROM messages WHERE room_id = ${roomId}`;
  await until(async () => (stored = (await fleet.sql(query))[0].join(' of ')) === '100 of 100', () => `in the database: ${stored}`);
});

test('typing and presence are seen at the other host', { skip: kSkip }, async () => {
  const { ann, bob, roomId } = await pair();
  await ann.command('start_typing', { roomId });
  await bob.event('typing_started', ({ userId }) => userId === ann.ready.user.id, kSlow);
  await ann.command('stop_typing', { roomId });
  await bob.event('typing_stopped', ({ userId }) => userId === ann.ready.user.id, kSlow);
  const { members } = await bob.command('list_members', { roomId });
  assert.deepEqual(members.map(({ online }) => online), [true, true]);
  await ann.close();
  await bob.event('presence_changed', ({ userId, status }) => userId === ann.ready.user.id && status === 'offline', kSlow);
});

test('a user at both hosts: online until he has left both, in his rooms at both, counted once', { skip: kSkip }, async () => {
  const { ann, bob, roomId } = await pair();
  const token = ann.ready.tokens.accessToken;
  const elsewhere = await Client.connect(two.url, { token });
  assert.deepEqual(elsewhere.ready.rooms.map(({ id }) => id), [roomId]);
  await say(bob, roomId, 'to both');
  for (const who of [ann, elsewhere]) await who.event('message_created', ({ message }) => message.text === 'to both', kSlow);
  // A room that he joins at one host is there at the other too.
  const other = name('other');
  const { room } = await ann.command('join', { room: other });
  await say(ann, room.id, 'in the other room');
  await elsewhere.event('message_created', ({ message }) => message.roomId === room.id, kSlow);
  for (const { url } of [one, two])
    assert.equal((await get(url, `/api/v1/rooms/${roomId}`, token)).body.room.unread, (await get(one.url, `/api/v1/rooms/${roomId}`, token)).body.room.unread);
  // 150 in an hour, at whichever host: one is sent by now.
  const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => (i % 2 ? ann : elsewhere).ask('send_message', { roomId, text: `m${i}` })));
  assert.equal(answers.filter(({ ok }) => ok).length, 149);
  assert.deepEqual([...new Set(answers.filter(({ ok }) => !ok).map(({ error }) => error.code))], ['rate_limited']);
  await ann.close();
  await elsewhere.close();
  await bob.event('presence_changed', ({ userId, status }) => userId === ann.ready.user.id && status === 'offline', kSlow);
  assert.equal(bob.events.filter(({ event, data }) => event === 'presence_changed' && data.userId === ann.ready.user.id && data.status === 'offline').length, 1);
});

test('who signs in at one host is known at the other; who signs out there is out here', { skip: kSkip }, async () => {
  const username = name('carl');
  const { body: tokens } = await post(one.url, '/api/v1/auth/register', { username, password: 'a long password', email: `${username}@example.org` });
  const here = await Client.connect(one.url, { token: tokens.accessToken });
  const fresh = await post(two.url, '/api/v1/auth/refresh', { refreshToken: tokens.refreshToken });
  assert.equal(fresh.status, 200);
  const { accessToken } = fresh.body;
  assert.equal((await get(one.url, '/api/v1/rooms', accessToken)).status, 200);
  assert.equal((await post(two.url, '/api/v1/auth/logout', undefined, accessToken)).status, 204);
  assert.equal((await here.closed).code, 4501);
  await until(async () => (await get(one.url, '/api/v1/rooms', accessToken)).body.reason === 'session_ended', 'the first host knows');
  const again = await post(two.url, '/api/v1/auth/login', { username, password: 'a long password' });
  assert.equal((await get(one.url, '/api/v1/rooms', again.body.accessToken)).status, 200);
});

test('a host is stopped, another killed, and both are back: nothing acked is lost, and who resumes has it all', { skip: kSkip }, async () => {
  const { ann, bob, roomId } = await pair();
  await say(ann, roomId, 'before');
  await until(() => bob.messages(roomId).length === 1, 'bob has it');
  const resume = { [roomId]: bob.rooms.get(roomId) };
  await two.stop();
  await say(ann, roomId, 'while it is stopped');
  await two.start();
  await well(two);
  const back = await Client.connect(two.url, { token: bob.ready.tokens.accessToken, resume });
  await until(() => texts(back, roomId).includes('while it is stopped'), 'it was resumed');
  await Promise.all(Array.from({ length: 20 }, (_, i) => say(back, roomId, `m${i}`)));
  await two.kill();
  await say(ann, roomId, 'while it is dead');
  await two.start();
  await well(two);
  await until(() => texts(ann, roomId).length === 23, 'ann has all');
  assert.equal(ann.gap, undefined);
  const late = await Client.connect(two.url, { token: bob.ready.tokens.accessToken });
  const { messages } = await late.command('get_history', { roomId, limit: 50 });
  assert.deepEqual(messages.map(({ text }) => text), texts(ann, roomId));
});

test('Redis is gone: each host chats on, and when it is back, empty, all have all', { skip: kSkip }, async () => {
  const { ann, bob, roomId } = await pair();
  await say(ann, roomId, 'before');
  await until(() => texts(bob, roomId).length === 1, 'bob has it');
  await fleet.redis('kill', 'single');
  try {
    await until(async () => (await component(one, 'redis')) === 'failing', 'the host says so');
    assert.equal((await get(one.url, '/readyz')).status, 200);
    await until(async () => /ringline_redis_away 2/.test((await get(one.url, '/metrics')).text), 'both of its cores know');
    const { message, pending } = await say(ann, roomId, 'pending at one', 'p1');
    assert.deepEqual([pending, message.seq], [true, null]);
    const again = await say(ann, roomId, 'not this', 'p1');
    assert.deepEqual([again.duplicate, again.pending, again.message.id], [true, true, message.id]);
    await say(bob, roomId, 'pending at two', 'p2');
    assert.equal((await bob.ask('leave_room', { roomId })).error.code, 'unavailable');
    await one.kill();
  } finally {
    await fleet.redis('start', 'single');
  }
  await one.start();
  await Promise.all([well(one), well(two)]);
  await until(() => texts(bob, roomId).length === 3, () => `bob has ${texts(bob, roomId)}`);
  assert.deepEqual(texts(bob, roomId).sort(), ['before', 'pending at one', 'pending at two']);
  const back = await Client.connect(one.url, { token: ann.ready.tokens.accessToken });
  const { messages } = await back.command('get_history', { roomId });
  assert.deepEqual(messages.map(({ id }) => id), bob.messages(roomId).filter(({ seq }) => seq).map(({ id }) => id));
  assert.equal((await say(back, roomId, 'sent again', 'p1')).duplicate, true);
});

test('each host has a number of its own: a copy of it is refused, and a host that stands alone too', { skip: kSkip }, async () => {
  const copy = mkdtempSync(join(process.env.RINGLINE_TEST_DIR ?? tmpdir(), 'ringline-copy-'));
  try {
    await two.stop();
    cpSync(two.dataDir, copy, { recursive: true });
    await two.start();
    const started = (env) => prepareServer({ dataDir: copy, env: { ...two.options.env, ...env } }).start();
    await assert.rejects(started({}), /another process is host \d of this database/);
    await assert.rejects(started({ REDIS_URL: '' }), /another Ringline host uses this database/);
    assert.deepEqual(await fleet.sql("SELECT name FROM leases WHERE name LIKE 'host-%' ORDER BY name"), [['host-1'], ['host-2']]);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
});
