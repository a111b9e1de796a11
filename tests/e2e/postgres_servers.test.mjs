// More than one server: a replica to read from, PgBouncer in between, and a standby that takes over without the last commits. They are this file's own
// (scripts/services), since the last test leaves the standby as the primary.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { Client, get } from './client.mjs';
import { startServer, until } from './server.mjs';
import { startServices } from './services.mjs';

const kSkip = existsSync('/usr/sbin/pgbouncer') && existsSync('/usr/lib/postgresql') ? false : 'no PostgreSQL and PgBouncer';
const kEnv = { RATE_LIMIT_MESSAGES: '0', RATE_LIMIT_GUESTS: '0', BCRYPT_COST: '4' };
delete process.env.RINGLINE_TEST_POSTGRES;  // other tests stop that one

let services;
let env = {};  // what the services say of themselves
before(async () => {
  if (kSkip) return;
  services = await startServices(['postgres', 'standby', 'pgbouncer']);
  env = services.env;
});
after(() => services?.stop());

const control = (what) => execFileSync(env.POSTGRES_CONTROL, [what], { stdio: 'pipe' });
const sql = (url, statement) => execFileSync('psql', ['-qtAc', statement, url], { encoding: 'utf8', stdio: 'pipe' }).trim();
// A database of the test's own, on the servers of a URL.
function inDatabase(name, url) { return url.replace('/postgres?', `/${name}?`); }
function makeDatabase(name) { sql(env.DATABASE_URL, `CREATE DATABASE ${name}`); }
async function send(client, roomId, from, to) {
  for (let i = from; i < to; ++i) await client.command('send_message', { roomId, text: `number ${i}`, clientId: `n${i}` });
}
function stored(url) {
  try {
    return sql(url, "SELECT count(*) || ' of ' || count(DISTINCT client_id) FROM messages");
  } catch (error) {
    return error.message;  // the standby has not heard of the database or the table
  }
}
const health = async (server) => (await get(server.url, '/health')).body.components.store;

test('a replica: history is read there, and never less of it than was seen', { skip: kSkip }, async () => {
  makeDatabase('replica');
  const primary = inDatabase('replica', env.DATABASE_URL), replica = inDatabase('replica', env.DATABASE_REPLICA_URL);
  const server = await startServer({ env: { ...kEnv, DATABASE_URL: primary, DATABASE_REPLICA_URL: replica } });
  try {
    const ann = await Client.connect(server.url, { name: 'ann' });
    const { room } = await ann.command('join', { room: 'a room' });
    const roomId = room.id;
    await send(ann, roomId, 0, 20);
    await until(() => stored(replica) === '20 of 20', 'the replica has the first');
    control('cut');
    await send(ann, roomId, 20, 40);
    await until(() => stored(primary) === '40 of 40', 'the primary has the others');
    await server.restart();  // so that the store is asked
    const back = await Client.connect(server.url, { token: ann.ready.tokens.accessToken });
    assert.equal((await back.command('get_history', { roomId, limit: 1 })).messages[0].text, 'number 39');
    assert.equal(stored(replica), '20 of 20');
    control('join');
    await until(() => stored(replica) === '40 of 40', 'the replica has all');
    control('stop');
    try {
      await until(async () => (await health(server)) === 'failing', 'the primary is away');
      const { messages } = await back.command('get_history', { roomId, before: 30, limit: 10 });
      assert.equal(messages.length, 10);
      assert.deepEqual((await back.command('search_messages', { query: 'nothing' })).messages, []);
    } finally {
      control('start');
    }
    await until(async () => (await health(server)) === 'ok', 'the primary is back');
  } finally {
    await server.stop();
  }
});

test('behind PgBouncer in transaction mode', { skip: kSkip }, async () => {
  makeDatabase('bouncer');
  const direct = inDatabase('bouncer', env.DATABASE_URL);
  const server = await startServer({ env: { ...kEnv, DATABASE_URL: inDatabase('bouncer', env.PGBOUNCER_URL) } });
  try {
    const ann = await Client.connect(server.url, { name: 'ann' });
    const { room } = await ann.command('join', { room: 'a room' });
    await send(ann, room.id, 0, 100);
    await until(() => stored(direct) === '100 of 100', 'all is stored');
    const search = async () => (await ann.command('search_messages', { query: 'number', limit: 100 })).messages.length;
    await until(async () => (await search()) === 100, 'all is found');
    sql(direct, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'bouncer' AND pid <> pg_backend_pid()");
    await send(ann, room.id, 100, 120);
    await until(() => stored(direct) === '120 of 120', 'what came then is stored');
    await server.restart();
    const back = await Client.connect(server.url, { token: ann.ready.tokens.accessToken });
    assert.equal((await back.command('get_history', { roomId: room.id, limit: 100 })).messages.length, 100);
    assert.equal(sql(direct, 'SELECT count(*) FROM dead_letters'), '0');
  } finally {
    await server.stop();
  }
});

test('a standby takes over that had not got the last commits: nothing acked is missing', { skip: kSkip }, async () => {
  makeDatabase('failover');
  const primary = inDatabase('failover', env.DATABASE_URL), standby = inDatabase('failover', env.DATABASE_REPLICA_URL);
  const server = await startServer({ cores: 2, env: { ...kEnv, DATABASE_URL: inDatabase('failover', env.POSTGRES_BOTH) } });
  try {
    let ann = await Client.connect(server.url, { name: 'ann' });
    const bob = await Client.connect(server.url, { name: 'bob' });
    const tokenOfAnn = ann.ready.tokens.accessToken, tokenOfBob = bob.ready.tokens.accessToken;
    const { room } = await ann.command('join', { room: 'a room' });
    const { room: quiet } = await ann.command('join', { room: 'a room where nothing follows' });
    const { room: late } = await bob.command('join', { room: 'a room that is not in memory when it happens' });
    const roomId = room.id;
    await send(ann, roomId, 0, 50);
    await send(ann, quiet.id, 0, 10);
    await until(() => stored(standby) === '60 of 50', 'the standby has the first');
    control('cut');
    await send(ann, roomId, 50, 150);
    await send(ann, quiet.id, 10, 20);
    await send(bob, late.id, 0, 20);
    await until(() => stored(primary) === '190 of 150', 'the primary has the next');
    await server.kill();
    await server.start();
    ann = await Client.connect(server.url, { token: tokenOfAnn });
    const { messages: [last] } = await ann.command('get_history', { roomId, limit: 1 });
    control('stop');
    await send(ann, roomId, 150, 200);
    assert.equal(stored(standby), '60 of 50');
    control('promote');
    let back;
    await until(async () => (back = await Client.connect(server.url, { token: tokenOfBob }).catch(() => null)), 'the standby is used', 60_000);
    // What is answered now is answered from all that was there.
    const again = await back.command('send_message', { roomId: late.id, text: 'number 19', clientId: 'n19' });
    assert.equal(again.duplicate, true);
    assert.equal((await back.command('send_message', { roomId: late.id, text: 'number 20', clientId: 'n20' })).message.seq, again.message.seq + 1);
    await send(ann, roomId, 200, 250);
    await until(() => stored(standby) === '291 of 250', () => `all is there: ${stored(standby)}`, 60_000);
    assert.equal(sql(standby, 'SELECT count(*) FROM dead_letters'), '0');
    assert.equal(sql(standby, 'SELECT max(epoch) FROM rooms'), '1');
    assert.equal(ann.gap, undefined);
    assert.equal(sql(standby, `SELECT max(seq) FROM messages WHERE room_id = ${roomId}`), String(last.seq + 100));
    await server.restart();
    back = await Client.connect(server.url, { token: tokenOfAnn });
    const { messages } = await back.command('get_history', { roomId: quiet.id, limit: 100 });
    assert.deepEqual(messages.map((message) => message.text), Array.from({ length: 20 }, (_, i) => `number ${i}`));
  } finally {
    await server.stop();
  }
});
