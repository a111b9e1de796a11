// The stock socket.io-client and polling by hand on the product with three cores: chats, survives a restart, recovers by auth.resume what it missed.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { io } from 'socket.io-client';
import { Client } from './client.mjs';
import { Http, pollingPath, websocketPath } from './polling.mjs';
import { RawWebSocket } from './raw.mjs';
import { startServer, until } from './server.mjs';
import { OverPolling, heard, kFolder, kTransports, leave } from './socketio_wire.mjs';

const kMissed = 20;
let unique = 0;
const named = (prefix) => `${prefix}-${process.pid}-${unique++}`;

describe('the product with three cores', () => {
  let server;
  const sockets = [];
  before(async () => { server = await startServer({ cores: 3, env: { RATE_LIMIT_GUESTS: '0', RATE_LIMIT_MESSAGES: '0', BCRYPT_COST: '4' } }); });
  after(async () => {
    for (const socket of sockets) leave(socket);
    await server?.stop();
  });

  // A stock client that says in `auth` who it is and what it has: all that our contract asks of one.
  const chatter = async (options) => {
    const seen = {};
    const socket = io(server.url, { forceNew: true, reconnectionDelay: 300, reconnectionDelayMax: 600, ...options,
      auth: (give) => give(socket.token ? { token: socket.token, resume: seen } : { name: named('stock') }) });
    sockets.push(socket);
    socket.texts = [];
    socket.seqs = [];
    for (const event of ['message_created', 'member_joined', 'member_left']) socket.on(event, ({ roomId, seq, epoch, message }) => {
      seen[roomId] = { seq, epoch };
      socket.seqs.push(seq);
      if (message) socket.texts.push(message.text);
    });
    socket.on('ready', ({ tokens }) => { socket.token ??= tokens.accessToken; });
    [socket.ready] = await heard(socket, 'ready');
    socket.say = async (command, data) => {
      const answer = await socket.timeout(5000).emitWithAck(command, data);
      assert.equal(answer.ok, true, JSON.stringify(answer));
      return answer.data;
    };
    return socket;
  };
  for (const [name, transports] of Object.entries(kTransports)) {
    test(`${name}: chats, both ways and with the other door`, async () => {
      const [ann, bob] = [await chatter(transports), await chatter(transports)];
      const { room } = await ann.say('join', { room: named('room') });
      await bob.say('join', { room: room.name });
      const plain = await Client.connect(server.url, { name: named('plain') });
      await plain.command('join', { room: room.name });
      const texts = [];
      for (let i = 0; i < 60; ++i) {
        texts.push(`n${i} €`);
        if (i % 3 === 2) await plain.command('send_message', { roomId: room.id, text: texts.at(-1) });
        else await [ann, bob][i % 3].say('send_message', { roomId: room.id, text: texts.at(-1) });
      }
      for (const socket of [ann, bob]) {
        await until(() => socket.texts.length >= 60, () => `${socket.texts.length} of 60`);
        assert.deepEqual(socket.texts, texts);
      }
      if (name === 'defaults') assert.equal(ann.io.engine.transport.name, 'websocket');
      await plain.close();
    });

    test(`${name}: survives a restart and recovers by auth.resume what it missed`, { timeout: 60_000 }, async () => {
      const bob = await chatter({ ...transports, reconnectionDelay: 1500, reconnectionDelayMax: 1500, randomizationFactor: 0 });
      const { room } = await bob.say('join', { room: named('room') });
      const ann = await Client.connect(server.url, { name: named('ann') });
      await ann.command('join', { room: room.name });
      await ann.command('send_message', { roomId: room.id, text: 'before' });
      await until(() => bob.texts.includes('before'), () => bob.texts);
      const resumed = heard(bob, 'resumed', 30_000);
      await server.restart();
      const back = await Client.connect(server.url, { token: ann.ready.tokens.accessToken });
      for (let i = 0; i < kMissed; ++i) await back.command('send_message', { roomId: room.id, text: `missed ${i}` });
      assert.ok(!bob.connected, 'it missed them');
      assert.equal((await resumed)[0].rooms[room.id].complete, true);
      await back.command('send_message', { roomId: room.id, text: 'live' });
      await until(() => bob.texts.at(-1) === 'live', () => bob.texts);
      assert.deepEqual(bob.texts, ['before', ...Array.from({ length: kMissed }, (_, i) => `missed ${i}`), 'live']);
      assert.deepEqual(bob.seqs, [...new Set(bob.seqs)].sort((a, b) => a - b), 'in order, none twice');
      await back.close();
    });
  }

  test('polling, a new connection for every request: chats, in order, nothing lost', async () => {
    const people = [];
    for (let i = 0; i < 4; ++i) {
      const wire = await OverPolling.open(server);
      await wire.send(`0${JSON.stringify({ name: named('poller') })}`);
      assert.match(await wire.next(), /^0\{"sid":/);
      assert.match(await wire.next(), /^2\["ready",/);
      people.push(wire);
    }
    const room = named('polled');
    for (const wire of people) await wire.send(`20["join",{"room":"${room}"}]`);
    const events = people.map(() => []);
    const wanted = 4 * 25;
    const read = async (wire, into) => {
      while (into.length < wanted) {
        const packet = await wire.next();
        assert.ok(packet, 'ended');
        if (packet.startsWith('30')) wire.roomId = JSON.parse(packet.slice(2))[0].data.room.id;
        else if (packet.startsWith('2["message_created"')) into.push(JSON.parse(packet.slice(1))[1].message);
      }
    };
    const readers = people.map((wire, i) => read(wire, events[i]));
    await until(() => people.every((wire) => wire.roomId), () => 'not all are in');
    await sleep(100);
    await Promise.all(people.map(async (wire, i) => {
      for (let n = 0; n < 25; ++n) await wire.send(`2["send_message",{"roomId":"${wire.roomId}","text":"${i}:${n}"}]`);
    }));
    await Promise.all(readers);
    const texts = events.map((all) => all.map(({ text }) => text));
    for (const other of texts.slice(1)) assert.deepEqual(other, texts[0], 'one order for all');
    for (let i = 0; i < 4; ++i) assert.deepEqual(texts[0].filter((text) => text.startsWith(`${i}:`)), Array.from({ length: 25 }, (_, n) => `${i}:${n}`));
  });

  test('an unknown sid is refused', async () => {
    const unknown = await new Http(server.port, true).ask(`${pollingPath(kFolder)}&sid=AAAAAAAAAAAAAAAAAAAA`);
    assert.deepEqual([unknown.status, JSON.parse(unknown.text)], [400, { code: 1, message: 'Session ID unknown' }]);
  });

  test('CORS by origin: localhost may, a stranger may not, on polls, preflights and upgrades', async () => {
    const http = new Http(server.port, true);
    for (const [origin, may] of [['http://localhost:4711', true], ['http://stranger.example', false], ['null', false]]) {
      const named = ({ headers }) => [origin, '*'].includes(headers['access-control-allow-origin']);
      assert.equal(named(await http.ask(pollingPath(kFolder), { headers: { Origin: origin } })), may, origin);
      const preflight = await http.ask(pollingPath(kFolder), { method: 'OPTIONS',
        headers: { Origin: origin, 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'content-type' } });
      assert.equal(named(preflight), may, origin);
      if (may) assert.match(preflight.headers['access-control-allow-headers'], /content-type|\*/i);
      for (const path of [websocketPath(kFolder), '/ws']) {
        const { response, socket } = await RawWebSocket.ask(server.port, path, { headers: { Origin: origin } });
        socket.destroy();
        assert.equal(response.status, may ? 101 : 403, `${origin} ${path}`);
      }
    }
  });

  test('a long message reaches who agreed on compression compressed, and others plain, over both doors', async () => {
    const listeners = [];
    const room = named('compressed');
    for (const extensions of ['permessage-deflate', 'permessage-deflate; client_max_window_bits; server_max_window_bits=15', null]) for (const path of ['/ws', websocketPath(kFolder)]) {
      const socket = await RawWebSocket.open(server.port, path, { extensions });
      const plain = path === '/ws';
      socket.text(plain ? JSON.stringify({ cmd: 'connect', id: 1, data: { name: named('deflate') } }) : `40${JSON.stringify({ name: named('deflate') })}`);
      const next = async (what) => { for (;;) { const one = await socket.message(); assert.ok(one, `no ${what}`); if (one.data.includes(what)) return one; } };
      await next('"ready"');
      socket.text(plain ? JSON.stringify({ cmd: 'join', id: 2, data: { room } }) : `420${JSON.stringify(['join', { room }])}`);
      await next('"messages"');
      listeners.push({ socket, next, agreed: socket.extensions !== '' });
      assert.equal(socket.extensions !== '', extensions !== null, `${path}: ${extensions} gives ${socket.extensions}`);
    }
    const sender = await Client.connect(server.url, { name: named('sender') });
    const { room: { id: roomId } } = await sender.command('join', { room });
    for (const text of ['so long '.repeat(400), 'short']) {
      await sender.command('send_message', { roomId, text });
      for (const { next, agreed } of listeners) {
        const one = await next(text);
        assert.equal(one.compressed, agreed && text !== 'short');
      }
    }
    for (const { socket } of listeners) socket.destroy();
    await sender.close();
  });
});
