// One user at several cores and hosts: what he may send, his sessions, whether he is online and what he has not read are his, not a host's.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, get, post } from './client.mjs';
import { Fleet, kFleetMissing } from './fleet.mjs';
import { until } from './server.mjs';

const kSkip = { skip: kFleetMissing ? `no ${kFleetMissing}` : false };
const kLimit = 10;
const kToldMs = 500;         // one host tells the others who is there
const kPresenceEveryMs = 1100;  // at most once a second each is told

let fleet;
let urls = [];
before(async () => {
  if (kFleetMissing) return;
  fleet = await Fleet.start({ hosts: 2, cores: 2, env: { RATE_LIMIT_MESSAGES: String(kLimit), RATE_LIMIT_WINDOW: '10m' } });
  urls = fleet.hosts.map(({ server }) => server.url);
});
after(() => fleet?.stop());

let names = 0;
const name = (what) => `${what}-${++names}`;
const person = (host, token) => Client.connect(urls[host], token ? { token } : { name: name('person') });
const tokenOf = (client) => client.ready.tokens.accessToken;
const statusAt = async (client, userId) => (await client.command('get_user', { userId })).user.status;
async function join(room, ...clients) {
  for (const client of clients) room = (await client.command('join', { room: room.id ?? room })).room;
  return room.id;
}

test('the limit on sends is one for all of his connections', kSkip, async () => {
  const here = await person(0);
  const roomId = await join(name('room'), here);
  const send = async (client) => {
    const answer = await client.ask('send_message', { roomId, text: 'again' });
    if (!answer.ok) assert.ok(answer.error.code === 'rate_limited' && answer.error.retryAfterMs > 0, JSON.stringify(answer));
    return answer.ok;
  };
  const sent = async (client, count) => {
    let taken = 0;
    for (let i = 0; i < count; ++i) taken += await send(client);
    return taken;
  };
  assert.equal(await sent(here, 3), 3);  // before he is anywhere else
  const others = [await person(0, tokenOf(here)), await person(1, tokenOf(here)), await person(1, tokenOf(here))];
  await sleep(kToldMs);
  assert.equal(await sent(others[1], 3), 3);
  assert.equal(await sent(others[0], 2), 2);
  assert.equal(await sent(others[2], 4), kLimit - 8);
  for (const client of [here, ...others]) assert.equal(await send(client), false);
});

test('a session that ends has ended at each host; its tokens are renewed at any', kSkip, async () => {
  const password = 'a long password', username = name('user');
  const login = async (host) => (await post(urls[host], '/api/v1/auth/login', { username, password })).body;
  assert.equal((await post(urls[0], '/api/v1/auth/register', { username, password })).status, 201);
  assert.equal((await post(urls[1], '/api/v1/auth/register', { username: username.toUpperCase(), password })).status, 409);
  const first = await login(1), other = await login(0);
  const clients = [await person(0, first.accessToken), await person(1, first.accessToken), await person(1, other.accessToken)];
  const refresh = async (host, refreshToken) => (await post(urls[host], '/api/v1/auth/refresh', { refreshToken })).body;
  const second = await refresh(0, first.refreshToken);
  assert.equal((await refresh(1, first.refreshToken)).refreshToken, second.refreshToken, 'the one before the newest gets the same pair');
  assert.equal((await post(urls[1], '/api/v1/auth/logout', undefined, second.accessToken)).status, 204);
  for (const client of clients.slice(0, 2)) assert.equal((await client.closed).code, 4501);
  for (const url of urls) assert.equal((await get(url, '/api/v1/rooms', second.accessToken)).body.reason, 'session_ended');
  assert.equal((await refresh(0, second.refreshToken)).reason, 'session_ended');
  await clients[2].command('ping', {});
});

test('he is online as long as he is at any host', kSkip, async () => {
  const bob = await person(1), carl = await person(0);
  const ann = [await person(0), null];
  const id = ann[0].ready.user.id;
  await join(name('room'), bob, carl, ann[0]);
  ann[1] = await person(1, tokenOf(ann[0]));
  const told = (who, status) => who.event('presence_changed', (data) => data.userId === id && data.status === status);
  await sleep(kPresenceEveryMs);
  for (const one of [bob, carl]) one.events = [];
  await ann[1].close();
  await sleep(kPresenceEveryMs);
  for (const one of [bob, carl]) {
    assert.equal(await statusAt(one, id), 'online');
    assert.ok(!one.events.some(({ event, data }) => event === 'presence_changed' && data.userId === id && data.status === 'offline'), 'he has not gone');
  }
  await ann[0].close();
  for (const one of [bob, carl]) await told(one, 'offline');
  await until(async () => (await statusAt(bob, id)) === 'offline' && (await statusAt(carl, id)) === 'offline', 'he is offline at both');
  await sleep(kPresenceEveryMs);
  ann[1] = await person(1, tokenOf(ann[0]));
  for (const one of [bob, carl]) await told(one, 'online');
});

test('what he reads at one host he has read at each', kSkip, async () => {
  const ann = await person(0), bob = await person(0);
  const carl = await person(1);  // the room is in memory at the other host whether bob is there or not
  const roomId = await join(name('room'), ann, bob, carl);
  const seqs = [];
  const say = async (who, text) => seqs.push((await who.command('send_message', { roomId, text })).message.seq);
  const shown = ({ lastReadSeq, unread }) => [lastReadSeq, unread];
  const seen = async (client) => shown((await client.command('get_room', { roomId })).room);
  const atSignIn = async (host) => {
    const client = await person(host, tokenOf(bob));
    const found = shown(client.ready.rooms.find(({ id }) => id === roomId));
    await client.close();
    return found;
  };
  const told = (client, count) => client.event('unread_changed', (data) => data.roomId === roomId && data.unread === count);

  for (let i = 0; i < 4; ++i) await say(ann, `${i}`);
  for (const one of [bob, carl]) await one.event('message_created', ({ message }) => message.text === '3');
  await bob.command('mark_read', { roomId, seq: seqs[0] });
  const bobs = [bob, await person(1, tokenOf(bob))];  // where he never was
  assert.deepEqual(shown(bobs[1].ready.rooms[0]), [seqs[0], 3]);
  await bobs[0].command('mark_read', { roomId, seq: seqs[1] });
  for (const one of bobs) await told(one, 2);
  await bobs[1].command('mark_read', { roomId, seq: seqs[2] });
  for (const one of bobs) {
    await told(one, 1);
    assert.deepEqual(await seen(one), [seqs[2], 1]);
  }
  await say(bobs[1], 'mine');  // he has read what was before it
  for (const one of bobs) {
    await told(one, 0);
    assert.deepEqual(await seen(one), [seqs[4], 0]);
  }

  await bobs[1].close();
  await say(ann, 'while he is at one host');
  await say(ann, 'and again');
  await carl.event('message_created', ({ message }) => message.text === 'and again');
  await bob.command('mark_read', { roomId, seq: seqs[5] });
  assert.deepEqual(await atSignIn(1), [seqs[5], 1], 'right after, where he was');

  await bob.command('mark_read', { roomId, seq: seqs[6] });
  await fleet.hosts[1].server.restart();
  assert.deepEqual(await atSignIn(1), [seqs[6], 0], 'at a host that was started anew');
  await fleet.hosts[0].server.restart();
  assert.deepEqual(await atSignIn(0), [seqs[6], 0]);
});

test('what he has not read is the same wherever he looks; who types is seen at each host', kSkip, async () => {
  const ann = await person(0), bob = await person(1);
  const roomId = await join(name('room'), ann, bob);
  const bobs = [bob, await person(0, tokenOf(bob))];
  for (let i = 0; i < 5; ++i) await ann.command('send_message', { roomId, text: `${i}` });
  for (const one of bobs) await one.event('message_created', ({ message }) => message.text === '4');
  const unread = [];
  for (const one of bobs) unread.push((await one.command('get_room', { roomId })).room.unread);
  assert.deepEqual(unread, [5, 5]);
  await ann.command('start_typing', { roomId });
  for (const one of bobs) await one.event('typing_started', ({ userId }) => userId === ann.ready.user.id);
  await ann.command('stop_typing', { roomId });
  for (const one of bobs) await one.event('typing_stopped', ({ userId }) => userId === ann.ready.user.id);
});

test('while PostgreSQL is away who was known signs in at a host where he never was, and gets what was asked before', kSkip, async () => {
  const password = 'a long password', username = name('ann');
  const login = async (url) => (await post(url, '/api/v1/auth/login', { username, password })).body;
  const { body: ann } = await post(urls[1], '/api/v1/auth/register', { username, password });
  const bob = await person(1);
  const { room: { id: roomId } } = await bob.command('create_room', { type: 'group', name: name('room'), memberIds: [ann.user.id] });
  const sent = [];
  for (let i = 0; i < 6; ++i) sent.push((await bob.command('send_message', { roomId, text: `word ${i}` })).message);
  const last = 'SELECT count(*) FROM messages WHERE room_id = ' + roomId;
  await until(async () => (await fleet.sql(last))[0][0] === '6', 'all is in the database');
  // The other host reads what was before from there.
  const carl = await person(0);
  await join({ id: roomId }, carl);
  const page = { roomId, before: sent[4].seq, limit: 3 };
  const history = (await carl.command('get_history', page)).messages.map(({ text }) => text);
  assert.deepEqual(history, ['word 1', 'word 2', 'word 3']);
  const cached = (key) => fleet.redis('cli', 'single', 'GET', `cache:${key}`);
  await until(async () => (await fleet.redis('cli', 'single', 'EXISTS', `cache:rooms:${ann.user.id}`)) === '0', 'his rooms have settled');
  const here = await person(1, ann.accessToken), ended = await login(urls[1]);
  await until(() => cached(`rooms:${ann.user.id}`), 'what he signs in with is kept');
  const search = { query: 'word', limit: 5 };
  const find = (who, more) => who.command('search_messages', { ...search, ...more });
  await until(async () => (await find(here, { limit: 6 })).messages.length === 6, 'all is found');
  const found = (await find(here)).messages.map(({ id }) => id);
  assert.equal(found.length, 5);
  const dave = (await post(urls[1], '/api/v1/auth/register', { username: name('dave'), password })).body;
  assert.equal((await post(urls[1], '/api/v1/auth/logout', undefined, ended.accessToken)).status, 204);
  const sidOf = (token) => JSON.parse(atob(token.split('.')[1])).sid;
  await until(() => cached(`ended:${sidOf(ended.accessToken)}`), 'that it ended is kept');
  const bobs = [bob.ready.tokens.refreshToken];
  for (let i = 0; i < 2; ++i) bobs.push((await post(urls[1], '/api/v1/auth/refresh', { refreshToken: bobs[i] })).body.refreshToken);

  const store = async (url) => (await get(url, '/health')).body.components.store;
  const refresh = (refreshToken = ann.refreshToken) => post(urls[0], '/api/v1/auth/refresh', { refreshToken });
  const unavailable = (asking) => assert.rejects(asking, ({ code }) => code === 'unavailable');
  const isEnded = async () => assert.equal((await get(urls[0], '/api/v1/rooms', ended.accessToken)).body.reason, 'session_ended');
  let there;
  await fleet.postgres('stop');
  try {
    for (const url of urls) await until(async () => (await store(url)) === 'failing', 'it is away');
    there = await person(0, ann.accessToken);
    assert.deepEqual([there.ready.user.username, there.ready.rooms.map(({ id }) => id)], [username, [roomId]]);
    assert.deepEqual((await there.command('get_history', page)).messages.map(({ text }) => text), history);
    assert.deepEqual((await find(there)).messages.map(({ id }) => id), found);
    await unavailable(there.command('get_history', { ...page, limit: 2 }));
    await unavailable(find(there, { query: 'words' }));
    await there.command('send_message', { roomId, text: 'from there' });
    await bob.event('message_created', ({ message }) => message.text === 'from there');
    await isEnded();
    const answer = await get(urls[0], '/api/v1/rooms?limit=7', dave.accessToken);
    assert.deepEqual([answer.status, answer.body.code], [503, 'unavailable'], 'of whom too little is known');
    assert.equal((await login(urls[0])).code, 'unavailable', 'no password is kept');
    for (const token of [ann.refreshToken, bobs[0]]) assert.equal((await refresh(token)).status, 503);
    assert.ok(await cached(`session:${sidOf(tokenOf(bob))}`), 'no session is ended because of a row that may be old');
    assert.match((await get(urls[0], '/metrics')).text, /ringline_store_cache_hits_total [1-9]/);
  } finally {
    await fleet.postgres('start');
  }
  for (const url of urls) await until(async () => (await store(url)) === 'ok', 'it is back');
  assert.equal((await there.command('get_history', { ...page, limit: 2 })).messages.length, 2);
  assert.equal((await refresh()).status, 200);
  await isEnded();
  assert.equal((await refresh(bobs[0])).body.reason, 'session_ended', 'it was used before');
});
