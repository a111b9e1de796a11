// Each core's thread has descriptors of its own: with a low limit on them a server of several cores holds more connections than one table has room for, refuses
// what is above that, hands sessions from core to core, and serves on.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { Client } from './client.mjs';
import { Http, Polling } from './polling.mjs';
import { RawSocket } from './raw.mjs';
import { kBinary, startServer, until } from './server.mjs';

const run = promisify(execFile);
const kEnv = { RATE_LIMIT_GUESTS: '0', RATE_LIMIT_MESSAGES: '0' };

const metric = async (server, name) => Number((await (await fetch(`${server.url}/metrics`)).text()).match(new RegExp(`^ringline_${name} (\\d+)`, 'm'))[1]);
// What it logs comes past what it answers, so maybe after that.
const logged = async (server, event) => {
  const lines = () => server.logs().filter((line) => line.includes(`"event":"${event}"`));
  await until(() => lines().length > 0, `${event} in the log`);
  return JSON.parse(lines()[0]);
};
// Each has asked once, and is kept alive: who never says a word is closed.
const openMany = async (server, count) => {
  const sockets = [];
  const open = async () => {
    const socket = await RawSocket.open(server.port);
    socket.write('GET /health HTTP/1.1\r\nHost: a\r\n\r\n');
    return socket;
  };
  while (sockets.length < count) sockets.push(...await Promise.all(Array.from({ length: Math.min(50, count - sockets.length) }, open)));
  return sockets;
};
const talk = async (one, other, room, text) => {
  await one.command('send_message', { roomId: room.id, text });
  await other.event('message_created', ({ message }) => message.text === text);
};

test('four cores with 300 descriptors each hold 800 connections, refuse what is above, and take new ones when some have gone', { timeout: 120_000 }, async () => {
  const server = await startServer({ cores: 4, descriptors: 300, env: kEnv });
  const { connectionsMax } = await logged(server, 'started');
  assert.ok(connectionsMax > 900 && connectionsMax < 1200, `${connectionsMax}`);
  const [ann, bob] = [await Client.connect(server.url, { name: 'ann' }), await Client.connect(server.url, { name: 'bob' })];
  const { room } = await ann.command('join', { room: 'full' });
  await bob.command('join', { room: 'full' });

  const held = await openMany(server, 800);
  await until(async () => await metric(server, 'connections') >= 802, '800 and more');
  await talk(ann, bob, room, 'with 800');
  assert.equal(held.filter(({ ended }) => ended).length, 0);

  const more = await openMany(server, 500);
  await until(() => more.some(({ ended }) => ended), 'some are refused');
  await talk(ann, bob, room, 'when full');
  for (const socket of more) socket.destroy();
  await until(async () => await metric(server, 'connections') < 820, 'they have gone');
  await (await Client.connect(server.url, { name: 'late' })).close();
  await talk(ann, bob, room, 'afterwards');
  for (const socket of held) socket.destroy();
  await server.stop();
});

test('sessions are handed over between three cores, and journals go on into new segments and over a restart', { timeout: 120_000 }, async () => {
  const server = await startServer({ cores: 3, descriptors: 200, env: { ...kEnv, JOURNAL_SEGMENT: '8M' } });
  const http = new Http(server.port, true);
  const sessions = [];
  for (let i = 0; i < 12; ++i) sessions.push(await Polling.open(http, '/socket.io/'));
  for (let round = 0; round < 5; ++round)
    for (const session of sessions) await session.send(round === 0 ? `40${JSON.stringify({ name: 'poller' })}` : `42${round}["ping",{}]`);
  for (const session of sessions) await session.packets(3);
  assert.ok(await metric(server, 'connections_handed_over_total') > 20);
  http.close();

  const ann = await Client.connect(server.url, { name: 'ann' });
  const { room } = await ann.command('join', { room: 'long' });
  const text = 'x'.repeat(4000);
  const third = () => readdirSync(join(server.dataDir, 'journal'), { recursive: true }).some((name) => String(name).endsWith('00003.log'));
  let sent = 0;
  for (; !third(); sent += 50) await Promise.all(Array.from({ length: 50 }, () => ann.command('send_message', { roomId: room.id, text })));
  await server.restart();
  const back = await Client.connect(server.url, { token: ann.ready.tokens.accessToken });
  const { room: after } = await back.command('join', { room: 'long' });
  assert.ok(after.lastSeq > sent, `${after.lastSeq} of ${sent}`);
  await back.close();
  await server.stop();
});

test('more connections than fit are asked for: it says how many fit; a limit without room for any is refused', async () => {
  const server = await startServer({ cores: 2, descriptors: 256, env: { CONNECTIONS_MAX: '1000' } });
  const warned = await logged(server, 'connections_do_not_fit');
  assert.equal(warned.wanted, 1000);
  assert.equal(warned.fit, (await logged(server, 'started')).connectionsMax);
  await server.stop();
  const folder = mkdtempSync(join(tmpdir(), 'ringline-'));
  try {
    await assert.rejects(run('prlimit', ['--nofile=48:48', '--', kBinary, '--data-dir', folder, '--port', '0', '--cores', '4']),
      ({ stderr }) => /a limit of 48 descriptors is too low for 4 cores/.test(stderr));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
