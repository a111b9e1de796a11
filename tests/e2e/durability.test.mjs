// What must survive, on the real server: another number of cores, a damaged journal, a torn end, a full disk, relaxed mode's losses announced.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync, writeSync, closeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Client, get } from './client.mjs';
import { startServer } from './server.mjs';

const kEnv = { RATE_LIMIT_MESSAGES: '0', RATE_LIMIT_GUESTS: '0', JOURNAL_SEGMENT: '8M' };
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function room(server, name) {
  const client = await Client.connect(server.url, { name: `writer of ${name}` });
  const { room: made } = await client.command('join', { room: name });
  return { client, roomId: made.id, token: client.ready.tokens.accessToken };
}

async function send(client, roomId, texts) {
  const sent = [];
  for (const text of texts) sent.push((await client.command('send_message', { roomId, text, clientId: text.replaceAll(' ', '-') })).message);
  return sent;
}

const numbers = (prefix, count) => Array.from({ length: count }, (_, i) => `${prefix}-${i}`);

// The files of DATA_DIR as they are, but the journal; put back, the journal alone knows what came later.
function keepStore(dataDir) {
  const kept = mkdtempSync(join(tmpdir(), 'ringline-kept-'));
  for (const name of readdirSync(dataDir)) if (name.startsWith('ringline.db')) cpSync(join(dataDir, name), join(kept, name));
  return () => {
    for (const name of readdirSync(dataDir)) if (name.startsWith('ringline.db')) rmSync(join(dataDir, name));
    for (const name of readdirSync(kept)) cpSync(join(kept, name), join(dataDir, name));
    rmSync(kept, { recursive: true });
  };
}

function segments(dataDir) {
  const files = [];
  for (const core of readdirSync(join(dataDir, 'journal')).filter((name) => name.startsWith('core-')))
    for (const name of readdirSync(join(dataDir, 'journal', core)).filter((one) => one.endsWith('.log'))) files.push(join(dataDir, 'journal', core, name));
  return files;
}

// Overwrites what stands at the text in the journal.
function damage(dataDir, text) {
  for (const file of segments(dataDir)) {
    const at = readFileSync(file).indexOf(text);
    if (at < 0) continue;
    const out = openSync(file, 'r+');
    writeSync(out, Buffer.from('#####'), 0, 5, at);
    closeSync(out);
    return file;
  }
  throw new Error(`${text} is in no segment`);
}

test('another number of cores after a restart: all is there, order and seqs go on', async () => {
  const server = await startServer({ cores: 2, env: kEnv });
  const rooms = [];
  for (const name of ['north', 'south', 'east', 'west']) rooms.push(await room(server, name));
  for (const one of rooms) one.sent = await send(one.client, one.roomId, numbers('a', 20));
  for (const cores of [1, 2, 3]) {
    await server.kill();
    await server.restart({ cores });
    for (const one of rooms) {
      const client = await Client.connect(server.url, { token: one.token });
      const more = await send(client, one.roomId, numbers(`cores-${cores}`, 5));
      assert.equal(more[0].seq, one.sent.at(-1).seq + 1);
      one.sent.push(...more);
      const { messages } = await client.command('get_history', { roomId: one.roomId, limit: 100 });
      assert.deepEqual(messages.map((m) => [m.seq, m.id]), one.sent.map((m) => [m.seq, m.id]));
      await client.close();
    }
  }
  await server.stop();
});

test('a committed record damaged on purpose is named at start-up, and nothing intact behind it is dropped', async () => {
  const server = await startServer({ cores: 1, env: kEnv });
  const { client, roomId, token } = await room(server, 'damaged');
  await send(client, roomId, numbers('stored', 5));
  await server.restart();
  const restore = keepStore(server.dataDir);
  const writer = await Client.connect(server.url, { token });
  const sent = await send(writer, roomId, numbers('kept', 30));
  await server.kill();
  restore();
  const file = damage(server.dataDir, 'kept-10');
  await server.restart();
  const log = server.logs().filter((line) => line.startsWith('{')).map((line) => JSON.parse(line)).find((line) => line.event === 'journal_damaged');
  assert.ok(log, 'the damage is named');
  assert.equal(log.file, file);
  assert.ok(log.offset > 0 && log.bytes > 0);
  const reader = await Client.connect(server.url, { token });
  const { messages } = await reader.command('get_history', { roomId, limit: 100 });
  const texts = messages.map((m) => m.text);
  assert.ok(!texts.includes('kept-10'));
  for (const message of sent.filter((m) => m.text !== 'kept-10')) assert.deepEqual(messages.find((m) => m.id === message.id)?.seq, message.seq, message.text);
  const [next] = await send(reader, roomId, ['after the damage']);
  assert.equal(next.seq, sent.at(-1).seq + 1);
  await server.stop();
});

test('a torn record after the last commit is dropped, quietly', async () => {
  const server = await startServer({ cores: 1, env: kEnv });
  const { client, roomId, token } = await room(server, 'torn');
  await server.restart();
  const restore = keepStore(server.dataDir);
  const writer = await Client.connect(server.url, { token });
  const sent = await send(writer, roomId, numbers('whole', 10));
  await server.kill();
  restore();
  // What a torn write looks like: the head of the last batch again, where the next one would begin, without its end.
  const file = segments(server.dataDir).find((one) => readFileSync(one).includes('whole-9'));
  const bytes = readFileSync(file);
  const at = Math.floor(bytes.lastIndexOf('whole-9') / 4096) * 4096;
  writeFileSync(file, Buffer.concat([bytes.subarray(0, at + 4096), bytes.subarray(at, at + 60), bytes.subarray(at + 4156)]));
  assert.equal(statSync(file).size, bytes.length);
  await server.restart();
  const reader = await Client.connect(server.url, { token });
  const { messages } = await reader.command('get_history', { roomId });
  assert.deepEqual(messages.map((m) => m.id), sent.map((m) => m.id));
  assert.ok(!server.logs().some((line) => line.includes('journal_damaged')));
  await server.stop();
});

test('the disk full: sends are refused with a clear error, reads go on, and it recovers when there is room', async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), 'ringline-full-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=160m', 'tmpfs', dataDir], { stdio: 'pipe' });
  } catch (error) {
    t.skip(`a small tmpfs cannot be mounted here: ${String(error.stderr).trim()}`);
    return;
  }
  let server;
  try {
    server = await startServer({ cores: 1, env: kEnv, dataDir });
    const { client, roomId } = await room(server, 'full');
    await send(client, roomId, numbers('before', 3));
    const stuffing = join(dataDir, 'stuffing');
    try {
      execFileSync('dd', ['if=/dev/zero', `of=${stuffing}`, 'bs=64k'], { stdio: 'pipe' });
    } catch {
      assert.ok(existsSync(stuffing));  // dd ends with the full disk's error
    }
    let refused;
    for (let i = 0; i < 20000 && !refused; ++i) {
      const answer = await client.ask('send_message', { roomId, text: `full ${i} ${'x'.repeat(3000)}` });
      if (!answer.ok) refused = answer.error;
    }
    assert.equal(refused?.code, 'unavailable');
    assert.ok(refused.retryAfterMs > 0);
    await sleep(500);
    assert.equal((await get(server.url, '/readyz')).status, 503);
    assert.equal((await get(server.url, '/health')).body.components.journal, 'failing');
    assert.ok((await client.command('get_history', { roomId })).messages.length > 0);
    rmSync(stuffing);
    let after;
    for (let i = 0; i < 300 && !after?.ok; ++i) {
      await sleep(100);
      after = await client.ask('send_message', { roomId, clientId: 'after', text: 'there is room again' });
    }
    assert.ok(after.ok, `${JSON.stringify(after)}\n${server.logs().slice(-20).join('\n')}`);
    await sleep(500);
    assert.equal((await get(server.url, '/readyz')).status, 200);
    assert.equal(client.gap, undefined);
    await server.restart();
    const { messages } = await (await Client.connect(server.url, { token: client.ready.tokens.accessToken })).command('get_history', { roomId, limit: 1 });
    assert.equal(messages[0].text, 'there is room again');
  } finally {
    await server?.stop();
    execFileSync('umount', [dataDir]);
    rmSync(dataDir, { recursive: true });
  }
});

// As LimitFSIZE= of systemd or `ulimit -f` set it: a write above it brings SIGXFSZ, which ends a process that does not ignore it.
test('a limit on the size of files: sends are refused with a clear error, reads go on, and it recovers when the limit is raised', async (t) => {
  const server = await startServer({ cores: 1, env: kEnv });
  t.after(() => server.stop());
  const limit = (bytes) => execFileSync('prlimit', ['--pid', String(server.pid), `--fsize=${bytes}:`], { stdio: 'pipe' });
  const { client, roomId } = await room(server, 'limited');
  await send(client, roomId, numbers('before', 3));
  limit(256 * 1024);
  // The next segment is there already and takes as much again; behind it none can be made.
  let refused;
  let ready = 200;
  for (let i = 0; i < 5000 && ready !== 503; ++i) {
    const answer = await client.ask('send_message', { roomId, text: `limited ${i} ${'x'.repeat(3000)}` });
    if (answer.ok) continue;
    refused = answer.error;
    ready = (await get(server.url, '/readyz')).status;
  }
  assert.equal(ready, 503);
  assert.equal(refused?.code, 'unavailable');
  assert.ok(refused.retryAfterMs > 0);
  assert.ok((await client.command('get_history', { roomId })).messages.length > 0);
  assert.match(server.logs().join('\n'), /File too large/);
  limit('unlimited');
  let after;
  for (let i = 0; i < 300 && !after?.ok; ++i) {
    await sleep(100);
    after = await client.ask('send_message', { roomId, clientId: 'after', text: 'there is room again' });
  }
  assert.ok(after.ok, `${JSON.stringify(after)}\n${server.logs().slice(-20).join('\n')}`);
  assert.equal(client.gap, undefined);
});

test('DURABILITY=relaxed: after an unclean stop every loss is announced by a new epoch; after a clean one there is none', async () => {
  const server = await startServer({ cores: 2, env: { ...kEnv, DURABILITY: 'relaxed' } });
  const { client, roomId, token } = await room(server, 'relaxed');
  await send(client, roomId, numbers('r', 10));
  const { seq } = client.rooms.get(roomId);
  await server.restart();
  const clean = await Client.connect(server.url, { token, resume: { [roomId]: { seq, epoch: 1 } } });
  assert.deepEqual((await clean.event('resumed')).rooms[roomId], { from: seq, to: seq, epoch: 1, complete: true });
  await send(clean, roomId, numbers('s', 10));
  const last = clean.rooms.get(roomId).seq;
  await server.kill();
  await server.restart();
  const again = await Client.connect(server.url, { token, resume: { [roomId]: { seq: last, epoch: 1 } } });
  const resumed = (await again.event('resumed')).rooms[roomId];
  assert.equal(resumed.complete, false);
  assert.equal(resumed.epoch, 2);
  await server.stop();
});
