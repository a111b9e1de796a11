// PostgreSQL away and back, while people chat: chat goes on, and in the end all of it is in the database, once. Needs RINGLINE_TEST_POSTGRES, and
// POSTGRES_CONTROL to stop and start that server (scripts/services).
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, get } from './client.mjs';
import { startServer, until } from './server.mjs';

const kSkip = process.env.RINGLINE_TEST_POSTGRES && process.env.POSTGRES_CONTROL ? false : 'no RINGLINE_TEST_POSTGRES and POSTGRES_CONTROL';
const kEnv = { RATE_LIMIT_MESSAGES: '0', RATE_LIMIT_GUESTS: '0', BCRYPT_COST: '4' };
const control = (what) => execFileSync(process.env.POSTGRES_CONTROL, [what], { stdio: 'pipe' });

async function pair(server) {
  const ann = await Client.connect(server.url, { name: 'ann' }), bob = await Client.connect(server.url, { name: 'bob' });
  const { room } = await ann.command('join', { room: 'a room' });
  await bob.command('join', { room: 'a room' });
  return { ann, bob, roomId: room.id };
}

const health = async (server) => (await get(server.url, '/health')).body.components.store;
const stored = (server) => server.sql("SELECT count(*) || ' of ' || count(DISTINCT client_id) FROM messages");

test('away: chat goes on, what needs the database says so, and all is there when it is back', { skip: kSkip }, async () => {
  const server = await startServer({ cores: 2, env: kEnv });
  try {
    const { ann, bob, roomId } = await pair(server);
    for (let i = 0; i < 20; ++i) await ann.command('send_message', { roomId, text: `before ${i}`, clientId: `b${i}` });
    control('stop');
    try {
      for (let i = 0; i < 200; ++i) await ann.command('send_message', { roomId, text: `away ${i}`, clientId: `a${i}` });
      await until(() => bob.messages(roomId).length === 220, 'bob has all');
      assert.equal(await health(server), 'failing');
      assert.equal((await get(server.url, '/readyz')).status, 200);
      const { messages } = await bob.command('get_history', { roomId, limit: 50 });
      assert.equal(messages.at(-1).text, 'away 199');
      await assert.rejects(Client.connect(server.url, { name: 'carl' }), /unavailable|away/);
    } finally {
      control('start');
    }
    await until(async () => (await health(server)) === 'ok', 'the store is well');
    await until(() => stored(server) === '220 of 220', 'all is stored');
    const carl = await Client.connect(server.url, { name: 'carl' });
    assert.equal((await carl.command('join', { room: 'a room' })).messages.at(-1).text, 'away 199');
    assert.deepEqual(bob.messages(roomId).map((message) => message.text).slice(20), Array.from({ length: 200 }, (_, i) => `away ${i}`));
  } finally {
    await server.stop();
  }
});

test('connections that are cut again and again lose nothing', { skip: kSkip }, async () => {
  const server = await startServer({ cores: 2, env: kEnv });
  try {
    const { ann, roomId } = await pair(server);
    for (let round = 0; round < 10; ++round) {
      for (let i = 0; i < 100; ++i) await ann.command('send_message', { roomId, text: `${round} ${i}`, clientId: `${round}-${i}` });
      server.sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'ringline'");
    }
    await until(() => stored(server) === '1000 of 1000', 'all is stored');
    assert.equal(server.sql('SELECT count(*) FROM dead_letters'), '0');
    assert.equal(server.sql('SELECT ingested_seq = (SELECT max(seq) FROM messages) FROM rooms ORDER BY id DESC LIMIT 1'), 't');
  } finally {
    await server.stop();
  }
});

test('killed while it is away: what was acked goes there after the next start, which waits for it', { skip: kSkip }, async () => {
  const server = await startServer({ cores: 2, env: kEnv });
  try {
    const { ann, roomId } = await pair(server);
    await ann.command('send_message', { roomId, text: 'before', clientId: 'before' });
    control('stop');
    for (let i = 0; i < 100; ++i) await ann.command('send_message', { roomId, text: `away ${i}`, clientId: `a${i}` });
    await server.kill();
    const starting = server.start();
    await sleep(1000);
    control('start');
    await starting;
    await until(() => stored(server) === '101 of 101', 'all is stored');
    const back = await Client.connect(server.url, { token: ann.ready.tokens.accessToken });
    assert.equal((await back.command('get_history', { roomId, limit: 1 })).messages[0].text, 'away 99');
  } finally {
    await server.stop();
  }
});

test('the password in DATABASE_URL is in no log and no answer', { skip: kSkip }, async () => {
  const url = new URL(process.env.RINGLINE_TEST_POSTGRES);
  url.searchParams.set('password', 'hidden-word');
  const server = await startServer({ env: { ...kEnv, DATABASE_URL: url.href, LOG_LEVEL: 'debug' } });
  try {
    await Client.connect(server.url, { name: 'ann' });
    assert.ok(!server.logs().some((line) => line.includes('hidden-word')));
  } finally {
    await server.stop();
  }
});
