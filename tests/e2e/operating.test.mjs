// For operators: health, metrics, statistics, a clean stop, settings.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { after, before, test } from 'node:test';

import { promisify } from 'node:util';
import { Client, get } from './client.mjs';
import { kBinary, startServer } from './server.mjs';

const run = promisify(execFile);
let server;
before(async () => {
  server = await startServer({ cores: 2 });
});
after(() => server?.stop());

test('/health, /livez, /readyz, /api/socket/stats', async () => {
  const health = await get(server.url, '/health');
  assert.equal(health.status, 200);
  assert.equal(health.body.status, 'ok');
  for (const field of ['timestamp', 'uptime', 'version', 'components']) assert.ok(field in health.body);
  assert.equal((await get(server.url, '/livez')).status, 200);
  assert.equal((await get(server.url, '/readyz')).status, 200);
  const client = await Client.connect(server.url, { name: 'counted' });
  const stats = await get(server.url, '/api/socket/stats');
  assert.equal(stats.body.connections, 1);
  assert.equal(stats.body.cores.length, 2);
  assert.deepEqual(stats.body.namespaces, ['/']);
  await client.close();
});

test('/metrics in Prometheus text', async () => {
  const { text, headers } = await get(server.url, '/metrics');
  assert.match(headers.get('content-type'), /^text\/plain; version=0\.0\.4/);
  for (const metric of ['ringline_connections', 'ringline_messages_total', 'ringline_journal_commit_seconds_bucket', 'process_cpu_seconds_total'])
    assert.match(text, new RegExp(`^${metric}`, 'm'));
  assert.equal((await fetch(`${server.url}/metrics`, { headers: { 'X-Forwarded-For': '192.0.2.1' } })).status, 404);
});

test('ADMIN_PORT: metrics there and not on the public port, and nothing for people', async () => {
  const port = await new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port: free } = probe.address();
      probe.close(() => resolve(free));
    });
  });
  const other = await startServer({ cores: 2, env: { ADMIN_PORT: String(port) } });
  const admin = `http://127.0.0.1:${port}`;
  assert.match((await get(admin, '/metrics')).text, /^ringline_connections/m);
  assert.equal((await get(admin, '/health')).status, 200);
  assert.equal((await get(admin, '/')).status, 404);
  assert.equal((await get(other.url, '/metrics')).status, 404);
  await assert.rejects(new Client(admin).open(), /404/);
  await other.stop();
});

test('the page is served with its type, policy and ETag; a conditional GET is 304', async () => {
  const page = await get(server.url, '/');
  assert.equal(page.status, 200);
  assert.match(page.headers.get('content-type'), /^text\/html/);
  assert.match(page.headers.get('content-security-policy'), /default-src 'self'/);
  const again = await fetch(server.url, { headers: { 'If-None-Match': page.headers.get('etag') } });
  assert.equal(again.status, 304);
  const head = await fetch(server.url, { method: 'HEAD', headers: { 'Accept-Encoding': 'identity' } });
  assert.equal(Number(head.headers.get('content-length')), Buffer.byteLength(page.text));
});

test('origins: the same and localhost are allowed, others not', async () => {
  const ask = (origin) => fetch(`${server.url}/health`, { headers: { Origin: origin } });
  assert.equal((await ask('http://localhost:5173')).headers.get('access-control-allow-origin'), 'http://localhost:5173');
  assert.equal((await ask('https://evil.example')).headers.get('access-control-allow-origin'), null);
  const foreign = new Client(server.url, { origin: 'https://evil.example' });
  await assert.rejects(foreign.open(), /403/);
  const preflight = await fetch(`${server.url}/api/v1/rooms`, { method: 'OPTIONS', headers: { Origin: 'http://localhost:5173', 'Access-Control-Request-Method': 'POST' } });
  assert.equal(preflight.status, 204);
});

test('an operator\'s signals come to the first thread, which waits for them, and to no other', () => {
  const kBits = 1n << 0n | 1n << 1n | 1n << 14n;  // SIGHUP, SIGINT, SIGTERM
  const others = readdirSync(`/proc/${server.pid}/task`).filter((thread) => Number(thread) !== server.pid);
  assert.ok(others.length > 4);
  for (const thread of others) {
    const status = readFileSync(`/proc/${server.pid}/task/${thread}/status`, 'utf8');
    const blocked = BigInt(`0x${/^SigBlk:\s*([0-9a-f]+)/m.exec(status)[1]}`);
    assert.equal(blocked & kBits, kBits, /^Name:\s*(.*)/m.exec(status)[1]);
  }
});

test('SIGTERM: clients are told, closed with 1001, and it stops within 5 s', async () => {
  const other = await startServer({ cores: 2 });
  const client = await Client.connect(other.url, { name: 'told' });
  await client.command('join', { room: 'lobby' });
  const started = Date.now();
  const stopped = other.stop();
  assert.equal(typeof (await client.event('server_draining')).reconnectAfterMs, 'number');
  assert.equal((await client.closed).code, 1001);
  await stopped;
  assert.ok(Date.now() - started < 5500);
});

test('a second process on one data directory is refused, and says who holds it', async () => {
  await assert.rejects(run(kBinary, ['--data-dir', server.dataDir, '--port', '0']), (error) => {
    assert.match(error.stderr, /in use by process \d+/);
    return true;
  });
});

test('journal-dump: what the journals hold, of a server that runs and of one that was killed', async () => {
  const other = await startServer({ cores: 2 });
  const client = await Client.connect(other.url, { name: 'dumped' });
  const { room } = await client.command('join', { room: 'dump me' });
  await client.command('send_message', { roomId: room.id, text: 'is in the journal' });
  const dump = async (args, options) => (await run(kBinary, ['journal-dump', ...args], options)).stdout;
  for (const killed of [false, true]) {
    if (killed) await other.kill();
    const text = await dump(['--data-dir', other.dataDir]);
    assert.match(text, /journal\/core-[01]\/0+1\.log\n {2}core [01], run 1, first batch \d+/);
    assert.match(text, new RegExp(`^ {4}room ${room.id} seq \\d+ epoch 1 id \\d+ at 20.* message_created .*is in the journal`, 'm'));
  }
  assert.match(await dump([], { env: { ...process.env, DATA_DIR: other.dataDir } }), /is in the journal/);
  assert.match(await dump(['--help']), /journal-dump/);
  await assert.rejects(dump(['--data-dir', '/nonexistent']), (error) => error.code === 1 && /no journal in \/nonexistent/.test(error.stderr));
});

test('--help, --version, --check-config, unknown settings', async () => {
  const help = (await run(kBinary, ['--help'])).stdout;
  assert.match(help, /--port/);
  assert.match(help, /journal-dump/);
  assert.match((await run(kBinary, ['--version'])).stdout, /\d+\.\d+\.\d+/);
  assert.equal((await run(kBinary, ['--check-config'])).stdout.length > 0, true);
  await assert.rejects(run(kBinary, ['--check-config', '--cores', 'many']), (error) => /cores/.test(error.stderr));
  await assert.rejects(run(kBinary, ['--check-config'], { env: { ...process.env, DURABILITY: 'maybe' } }), (error) => /DURABILITY/i.test(error.stderr));
});

