// What `scripts/run --full` starts, with the server as it is built: two hosts and all that is behind them. They chat, files go from one to the other, a host
// that is killed comes back, and nothing is left at the end.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Client } from './client.mjs';
import { kBinary, kGuard, until } from './server.mjs';

const kFull = fileURLToPath(new URL('../../scripts/build/full', import.meta.url));
const kNeeded = ['/usr/sbin/pgbouncer', '/usr/lib/postgresql', '/usr/bin/redis-server', '/usr/bin/swift-proxy-server'];
const kSkip = kNeeded.every((path) => existsSync(path)) ? false : 'not all that it starts is installed';

let full;
let output = '';
let ended;
let port;

const listens = (at) => new Promise((resolve) => {
  const probe = createServer().once('error', () => resolve(0)).listen(at, '127.0.0.1', () => {
    const { port: free } = probe.address();
    probe.close(() => resolve(free));
  });
});

before(async () => {
  if (kSkip) return;
  do port = await listens(0); while (port === 65535 || !(await listens(port + 1)));
  const guard = kGuard.map((word) => (word === 'KILL' ? 'TERM' : word));  // it stops what it has started
  const command = [...guard, kFull, kBinary];
  full = spawn(command[0], command.slice(1), { env: { ...process.env, PORT: String(port), RATE_LIMIT_GUESTS: '0' }, stdio: ['ignore', 'pipe', 'pipe'] });
  ended = new Promise((resolve) => full.once('close', (code, signal) => resolve(signal ?? code)));
  for (const stream of [full.stdout, full.stderr]) stream.on('data', (bytes) => { output += bytes; });
  await until(() => /Ctrl-C stops everything/.test(output) || full.exitCode !== null, () => `two hosts: ${output}`, 120_000);
  assert.equal(full.exitCode, null, output);
});
after(() => full?.kill('SIGTERM'));

const kHosts = [0, 1];
const url = (host) => `http://127.0.0.1:${port + host}`;

test('two hosts: a message and a file, from one to the other', { skip: kSkip }, async () => {
  const [ann, bob] = await Promise.all(['ann', 'bob'].map((name, host) => Client.connect(url(host), { name })));
  const { room } = await ann.command('join', { room: 'of both' });
  await bob.command('join', { room: room.id });
  const bytes = Buffer.from('what is in the file');
  const { file, upload } = await ann.command('create_upload', { name: 'a.txt', size: bytes.length, mimeType: 'text/plain', roomId: room.id });
  assert.equal((await fetch(new URL(upload.url, url(0)), { method: upload.method, headers: upload.headers, body: bytes })).status, 200);
  await ann.command('complete_upload', { fileId: file.id });
  await ann.command('send_message', { roomId: room.id, text: 'for bob', fileId: file.id });
  const { message } = await bob.event('message_created', (data) => data.roomId === room.id, 20_000);
  assert.equal(message.text, 'for bob');
  const got = await fetch(new URL(message.file.url, url(1)));
  assert.equal(await got.text(), String(bytes));
  await bob.command('send_message', { roomId: room.id, text: 'for ann' });
  await ann.event('message_created', (data) => data.message.text === 'for ann', 20_000);
  await Promise.all([ann.close(), bob.close()]);
});

test('a host that is killed is started again', { skip: kSkip }, async () => {
  const folder = /^ {2}cd (\S+)$/m.exec(output)[1];
  const pid = () => { try { return Number(readFileSync(`${folder}/host-0/lock`, 'utf8')); } catch { return 0; } };
  const first = pid();
  process.kill(first, 'SIGKILL');
  await until(async () => pid() !== first && (await fetch(`${url(0)}/readyz`).catch(() => null))?.ok, 'the host is back', 60_000);
});

test('stopped, it leaves nothing', { skip: kSkip }, async () => {
  const folder = /^ {2}cd (\S+)$/m.exec(output)[1];
  full.kill('SIGTERM');
  assert.equal(await ended, 0, output);
  assert.ok(!existsSync(folder), 'the folder is still there');
  const left = readdirSync('/proc').filter((name) => {
    try { return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(folder); } catch { return false; }
  });
  assert.deepEqual(left, [], 'processes are still there');
  for (const host of kHosts) await assert.rejects(fetch(`${url(host)}/livez`));
});
