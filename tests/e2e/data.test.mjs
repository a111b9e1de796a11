// The commands that move all data: migrate-store, import, backup, restore. Each is killed in the middle and run again; what is there in the end is the same.
// On SQLite, and with RINGLINE_TEST_POSTGRES on PostgreSQL and from one to the other.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { spawn } from 'node:child_process';
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Client, post } from './client.mjs';
import { kBinary, kReport, prepareServer, sqlite, startServer, until } from './server.mjs';

const kEnv = { RATE_LIMIT_MESSAGES: '0', RATE_LIMIT_GUESTS: '0', BCRYPT_COST: '4' };
const kMany = 12_000;  // messages that take a moment to copy, and more than one transaction
const scratch = mkdtempSync(join(process.env.RINGLINE_TEST_DIR ?? tmpdir(), 'ringline-data-'));
after(() => rmSync(scratch, { recursive: true, force: true }));
let folders = 0;
const folder = () => join(scratch, `folder-${++folders}`);

// The command, killed when its progress says `when`.
async function killAt(place, when, ...args) {
  const child = spawn(kBinary, args, { env: place.environment(), stdio: ['ignore', 'ignore', 'pipe'] });
  let told = '';
  child.stderr.on('data', (bytes) => {
    told += bytes;
    if (when.test(told)) child.kill('SIGKILL');
  });
  const signal = await new Promise((resolve) => child.once('close', (code, by) => resolve(by)));
  assert.equal(signal, 'SIGKILL', `it ended before it could be killed:\n${told}`);
}

async function succeeds(place, ...args) {
  const { stdout, stderr } = await place.command(...args);
  assert.doesNotMatch(stderr, kReport);
  return stdout;
}

// A room with many messages, past the server, which must not run.
function addMany(sql) {
  sql(`INSERT INTO users (id, username, username_folded, display_name, avatar_url, bio, email, role, guest, banned, password_hash, created_ms, updated_ms, last_seen_ms, wrote)
    VALUES (3, 'writer', 'writer', 'writer', '', '', '', 0, 0, 0, '', 1, 1, 1, 1)`);
  sql(`INSERT INTO rooms (id, type, name, description, avatar_url, private, ephemeral, created_ms, updated_ms, last_seq, ingested_seq, message_count)
    VALUES (2, 1, 'many', '', '', 1, 0, 1, 1, ${kMany}, ${kMany}, ${kMany})`);
  sql(`INSERT INTO messages (room_id, seq, id, sender_id, type, text, created_ms)
    WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ${kMany}) SELECT 2, n, 1000 + n, 3, 'text', 'text ' || n, 1 FROM numbers`);
}

// Two people, a room, messages of which the last are perhaps only in the journal: the server is killed.
async function liveAndDie(server) {
  const { body: ann } = await post(server.url, '/api/v1/auth/register', { username: 'ann', password: 'a long word' });
  const client = await Client.connect(server.url, { token: ann.accessToken });
  const { room } = await client.command('join', { room: 'a room' });
  const sent = [];
  for (let i = 0; i < 300; ++i) sent.push((await client.command('send_message', { roomId: room.id, text: `text ${i}`, clientId: `c${i}` })).message);
  await server.kill();
  return { sent, roomId: room.id };
}

async function expectLife(server, { sent, roomId }) {
  const { status, body } = await post(server.url, '/api/v1/auth/login', { username: 'ann', password: 'a long word' });
  assert.equal(status, 200, 'the account is there');
  const client = await Client.connect(server.url, { token: body.accessToken });
  const found = [];
  for (let before; ;) {
    const { messages, hasBefore } = await client.command('get_history', { roomId, limit: 100, ...(before ? { before } : {}) });
    found.unshift(...messages);
    if (!hasBefore) break;
    before = messages[0].seq;
  }
  assert.deepEqual(found.map(({ id, seq, text }) => [id, seq, text]), sent.map(({ id, seq, text }) => [id, seq, text]));
  const again = await client.command('send_message', { roomId, text: sent[7].text, clientId: 'c7' });
  assert.equal(again.duplicate, true);
  const { message } = await client.command('send_message', { roomId, text: 'goes on' });
  assert.equal(message.seq, sent.at(-1).seq + 1);
  await client.close();
}

const storeOf = (place) => place.environment().DATABASE_URL ?? `sqlite:${place.dataDir}/ringline.db`;
const sqliteAlone = () => prepareServer({ env: { ...kEnv, ...(process.env.RINGLINE_TEST_POSTGRES ? { DATABASE_URL: 'sqlite:' } : {}) } });
const fileOf = (place) => `sqlite:${place.dataDir}/ringline.db`;

// `first` lived; its data goes to the store of `second` and the server goes on there.
async function migrates(first, second, from, to, life) {
  const args = ['migrate-store', '--data-dir', first.dataDir, '--from', from, '--to', to];
  await killAt(first, /^rooms: 0 of/m, ...args);
  second.options.env.DATABASE_URL = to.replace(/^postgres:(?=postgres)/, '');
  await assert.rejects(second.start(), /was not finished|another Ringline host/);
  await killAt(first, /^messages: 0 of/m, ...args);
  assert.match(await succeeds(first, ...args), /Both sides are the same/);
  const last = await succeeds(first, ...args);
  for (const line of last.split('\n').filter((one) => /^[a-z_]+ +\d/.test(one))) assert.match(line, /^\w+ +(\d+) +\1 +0 +0 +0 +0 +0$/, 'another run changes nothing');
  await second.start();
  await expectLife(second, life);
  await second.stop();
  await assert.rejects(first.command(...args), /the target is not empty/);
}

test('migrate-store: killed and run again, nothing that was acked is missing, and the server goes on there', async () => {
  const first = sqliteAlone();
  await first.start();
  const life = await liveAndDie(first);
  await assert.rejects(first.command('migrate-store', '--to', fileOf(first)), /same store/);
  addMany((statement) => sqlite(`${first.dataDir}/ringline.db`, statement));  // first.sql would look into PostgreSQL
  const second = prepareServer({ env: { ...kEnv } });
  await migrates(first, second, fileOf(first), process.env.RINGLINE_TEST_POSTGRES ? `postgres:${storeOf(second)}` : fileOf(second), life);
});

test('migrate-store from PostgreSQL to SQLite', { skip: process.env.RINGLINE_TEST_POSTGRES ? false : 'no RINGLINE_TEST_POSTGRES' }, async () => {
  const first = await startServer({ env: { ...kEnv } });
  const life = await liveAndDie(first);
  addMany((statement) => first.sql(statement));
  const second = sqliteAlone();
  await migrates(first, second, storeOf(first), fileOf(second), life);
});

test('migrate-store: what it refuses is said', async () => {
  const server = await startServer({ env: { ...kEnv } });
  try {
    const other = `sqlite:${folder()}.db`;
    await assert.rejects(server.command('migrate-store', '--from', storeOf(server), '--to', other), /in use by process/);
    await assert.rejects(server.command('migrate-store', '--to', 'mysql:x'), /sqlite:PATH or postgres:URL/);
    await assert.rejects(server.command('migrate-store', '--from', 'sqlite:/nowhere/x.db', '--to', other), /there is no database/);
    for (const command of ['migrate-store', 'import', 'backup', 'restore']) assert.match((await server.command(command, '--help')).stdout, /DATA_DIR/);
    await assert.rejects(server.command('restore', '/nowhere', '--forse'), /unknown flag --forse/);
  } finally {
    await server.stop();
  }
});

test('backup of a server at work, restored into an empty place', async () => {
  const server = await startServer({ env: kEnv });
  const { body: ann } = await post(server.url, '/api/v1/auth/register', { username: 'ann', password: 'a long word' });
  const client = await Client.connect(server.url, { token: ann.accessToken });
  const { room } = await client.command('join', { room: 'a room' });
  const send = async (text) => (await client.command('send_message', { roomId: room.id, text })).message;
  const before = [];
  for (let i = 0; i < 300; ++i) before.push(await send(`before ${i}`));
  mkdirSync(join(server.dataDir, 'files', 'ab'), { recursive: true });
  writeFileSync(join(server.dataDir, 'files', 'ab', 'one'), 'bytes of a file');
  writeFileSync(join(server.dataDir, 'files', 'large'), Buffer.alloc(24 << 20, 'x'));  // copying it takes a moment
  let busy = true;
  const during = (async () => { for (let i = 0; busy; ++i) await send(`during ${i}`); })();
  const dir = folder();
  await assert.rejects(server.command('backup', join(server.dataDir, 'backup')), /must not lie in one another/);
  assert.match(await succeeds(server, 'backup', dir), /messages +\d+ rows/);
  await assert.rejects(server.command('backup', dir), /is not empty/);
  busy = false;
  await during;
  await send('after it');
  const seen = client.rooms.get(room.id);
  await server.kill();
  const manifest = JSON.parse(readFileSync(join(dir, 'manifest.json'), 'utf8'));
  for (const { path, sha256 } of manifest.files) assert.equal(createHash('sha256').update(readFileSync(join(dir, path))).digest('hex'), sha256, path);
  assert.ok(!manifest.files.some(({ path }) => /host-token|lock|port$/.test(path)));

  const place = prepareServer({ env: kEnv });
  await killAt(place, /^checking/m, 'restore', dir);
  await killAt(place, /^files, bytes/m, 'restore', dir);
  await assert.rejects(place.start(), /was not finished/);
  assert.match(await succeeds(place, 'restore', dir), /All of the backup of .* is there/);
  await assert.rejects(place.command('restore', dir), /is not empty .* --force/);
  await place.start();
  assert.deepEqual(place.logs().filter((line) => /journal_(damaged|gap)|event_refused/.test(line)), [], 'journal and store fit together');
  const back = await Client.connect(place.url, { token: ann.accessToken, resume: { [room.id]: seen } });
  const resumed = (await back.event('resumed')).rooms[room.id];
  assert.equal(resumed.complete, false, 'what came after the backup may have been seen');
  assert.ok(resumed.epoch > seen.epoch + 1);
  const { messages } = await back.command('get_history', { roomId: room.id, around: before.at(-1).seq, limit: 100 });
  const found = new Map(messages.map((message) => [message.id, message]));
  for (const { id, seq, text } of before.slice(-40)) assert.deepEqual([found.get(id)?.seq, found.get(id)?.text], [seq, text]);
  assert.ok(!messages.some(({ text }) => text === 'after it'));
  assert.equal(Number(place.sql(`SELECT count(*) FROM messages WHERE text LIKE 'before %'`)), 300);
  assert.equal(readFileSync(join(place.dataDir, 'files', 'ab', 'one'), 'utf8'), 'bytes of a file');
  await place.stop();

  // Over what is there, and of a backup that is damaged nothing.
  assert.match(await succeeds(place, 'restore', dir, '--force', '--nothing-since'), /Rooms keep their epochs/);
  await place.start();
  assert.equal((await (await Client.connect(place.url, { token: ann.accessToken })).command('get_room', { roomId: room.id })).room.epoch, 1);
  await place.stop();
  appendFileSync(join(dir, manifest.files[0].path), 'x');
  const third = prepareServer({ env: kEnv });
  await assert.rejects(third.command('restore', dir), (error) => error.code === 1 && error.stderr.includes(manifest.files[0].path));
  await third.start();
  await third.stop();
});

test('import: killed and run again, every message once, in order', async () => {
  const old = folder();
  mkdirSync(join(old, 'data'), { recursive: true });
  const write = (name, value) => writeFileSync(join(old, 'data', `${name}.json`), JSON.stringify(value));
  const sha256 = createHash('sha256').update('her word').digest('hex');
  write('users', [{ id: 'u1', username: 'ann', passwordHash: sha256 }, { id: 'u2', username: 'bob', password: 'his own word' }]);
  write('rooms', [{ id: 'r1', name: 'old room', members: ['u1', 'u2'] }]);
  const start = Date.parse('2021-03-01T00:00:00Z');
  const messages = Array.from({ length: 5000 }, (_, i) => ({ id: `m${i}`, room: 'r1', user: i % 2 ? 'u1' : 'u2', text: `text ${i}`, timestamp: new Date(start + i * 1000).toISOString() }));
  write('messages', messages);
  const place = prepareServer({ env: kEnv });
  await killAt(place, /^messages into their rooms: \d/m, 'import', old);
  const counts = await succeeds(place, 'import', old);
  assert.match(counts, new RegExp(`^messages\\.json +${messages.length} `, 'm'));
  assert.match(await succeeds(place, 'import', old), new RegExp(`^messages\\.json +${messages.length} +0 +${messages.length} +0$`, 'm'));
  write('messages', [...messages, { id: 'late', room: 'nowhere', user: 'u1', text: 'x', timestamp: start }]);
  await assert.rejects(place.command('import', old), (error) => error.code === 1 && error.stdout.includes(`messages.json: row ${messages.length + 1} (line 1): not taken: its room "nowhere"`));
  assert.equal(place.sql('SELECT count(*) FROM messages'), String(messages.length));
  assert.equal(place.sql("SELECT count(*) FROM messages m WHERE text <> 'text ' || (seq - 1)"), '0', 'in the order of their times');
  await place.start();
  for (const [username, password] of [['ann', 'her word'], ['bob', 'his own word']]) {
    const { status, body } = await post(place.url, '/api/v1/auth/login', { username, password });
    assert.equal(status, 200);
    const client = await Client.connect(place.url, { token: body.accessToken });
    const [room] = client.ready.rooms;
    assert.deepEqual([room.name, room.unread], ['old room', 0]);
    const { messages: last } = await client.command('get_history', { roomId: room.id, limit: 1 });
    assert.equal(last[0].text, messages.at(-1).text);
  }
  await until(() => place.sql("SELECT count(*) FROM users WHERE password_hash LIKE '$2b$04$%'") === '2', 'hashes are of today');
  await place.stop();
});
