// Socket.IO's connection state recovery (SOCKETIO_RECOVERY) with the stock client, on two cores: cut off, it comes back as the same socket and is sent what
// it missed, on whatever core it lands.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { io } from 'socket.io-client';
import { startServer, until } from './server.mjs';

const kRounds = 12;
let server;

before(async () => {
  server = await startServer({ cores: 2, env: { SOCKETIO_RECOVERY: 'on', RATE_LIMIT_MESSAGES: '0', RATE_LIMIT_GUESTS: '0' } });
});
after(() => server.stop());

// A guest in a room. Every room event is kept, with its offset.
async function guest(room, options = {}) {
  const socket = io(server.url, { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 100, ...options });
  socket.got = [];
  socket.on('message_created', (event, offset) => socket.got.push({ event, offset }));
  const ready = new Promise((resolve) => socket.once('ready', resolve));
  await new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('connect_error', reject);
  });
  socket.ready = await ready;
  const joined = await socket.emitWithAck('join', { room });
  assert.equal(joined.ok, true);
  socket.roomId = joined.data.room.id;
  return socket;
}

const texts = (socket) => socket.got.map(({ event }) => event.message.text);
async function send(socket, text, roomId = socket.roomId) {
  const answer = await socket.emitWithAck('send_message', { roomId, text });
  assert.equal(answer.ok, true, JSON.stringify(answer));
}

test('cut off and back: the same socket, and every missed event once, in order', { timeout: 60000 }, async () => {
  const stays = await guest('recovery-a');
  const leaves = await guest('recovery-a', { transports: ['websocket'] });
  const joined = await leaves.emitWithAck('join', { room: 'recovery-b' });
  const second = joined.data.room.id;
  await stays.emitWithAck('join', { room: 'recovery-b' });
  const expected = [];
  for (let round = 0; round < kRounds; ++round) {
    const id = leaves.id;
    for (const when of ['before', 'away']) {
      if (when === 'away') leaves.io.engine.close();
      for (const [index, roomId] of [stays.roomId, second, stays.roomId].entries()) {
        const text = `${round} ${when} ${index}`;
        await send(stays, text, roomId);
        expected.push(text);
      }
      if (when === 'before') await until(() => leaves.got.length === expected.length, 'what came before the cut');
    }
    await until(() => leaves.connected && leaves.got.length >= expected.length, `what was missed in round ${round}`);
    assert.equal(leaves.recovered, true);
    assert.equal(leaves.id, id);
    for (const roomId of [stays.roomId, second]) {
      const seqs = leaves.got.filter(({ event }) => event.roomId === roomId).map(({ event }) => event.seq);
      assert.deepEqual(seqs, [...new Set(seqs)].sort((a, b) => a - b), 'once and in order');
    }
    assert.deepEqual(texts(leaves).sort(), [...expected].sort());
  }
  assert.ok(leaves.got.every(({ offset }) => typeof offset === 'string'));
  leaves.disconnect();
  stays.disconnect();
});

test('receivers on one core get the same bytes', { timeout: 20000 }, async () => {
  const sockets = [];
  for (let i = 0; i < 6; ++i) sockets.push(await guest('recovery-same', { transports: ['websocket'] }));
  await send(sockets[0], 'one for all');
  await until(() => sockets.every((socket) => socket.got.length === 1), 'the message everywhere');
  const offsets = new Set(sockets.map((socket) => socket.got[0].offset));
  assert.ok(offsets.size <= 2, `an offset a core: ${[...offsets]}`);
  for (const socket of sockets) socket.disconnect();
});

test('who went by himself, and whom a restart cut off, is not recovered', { timeout: 60000 }, async () => {
  const socket = await guest('recovery-c', { transports: ['websocket'] });
  await send(socket, 'something with an offset');
  await until(() => socket.got.length === 1, 'it');
  socket.disconnect();
  socket.connect();
  await until(() => socket.connected, 'back');
  assert.equal(socket.recovered, false);
  const again = await socket.emitWithAck('join', { room: 'recovery-c' });
  await send(socket, 'another', again.data.room.id);
  await until(() => socket.got.length === 2, 'the other');
  await server.restart();
  await until(() => socket.connected, 'back after the restart');
  assert.equal(socket.recovered, false);
  socket.disconnect();
});
