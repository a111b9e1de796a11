// The stock socket.io-client on the conformance server's fixtures, with its defaults (polling, then upgrade) and with either transport alone, on one core
// and on two: it must not be able to tell our server from the one that it was written for. Connection state recovery too.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { io } from 'socket.io-client';
import { startConformance } from './conformance.mjs';
import { OverWebSocket, heard, kTransports, leave } from './socketio_wire.mjs';

for (const cores of [1, 2]) for (const [name, transports] of Object.entries(kTransports)) {
  describe(`the stock client, ${name}, ${cores} core${cores > 1 ? 's' : ''}`, () => {
    let server;
    const sockets = [];
    before(async () => { server = await startConformance({ cores, pingInterval: 500, pingTimeout: 1000, deflate: true }); });
    after(async () => {
      for (const socket of sockets) leave(socket);
      await server?.stop();
    });
    const client = async (namespace = '/', options = {}) => {
      const socket = io(server.url + namespace, { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 100, ...transports, ...options });
      sockets.push(socket);
      const auth = heard(socket, 'auth');
      await heard(socket, 'connect');
      [socket.authHeard] = await auth;
      return socket;
    };
    stock(client, name === 'defaults');
    if (name === 'defaults') restarts(() => server, client);
  });
}

function stock(client, upgrades) {
  test('rooms: who is in hears, the sender does not, who left does not', async () => {
    const [ann, bob, eve] = [await client(), await client(), await client()];
    const got = { ann: [], bob: [], eve: [] };
    for (const [name, socket] of Object.entries({ ann, bob, eve })) socket.on('room', (...args) => got[name].push(args));
    for (const socket of [ann, bob]) assert.equal(await socket.emitWithAck('join', 'tea'), 'ok');
    eve.emit('join', 7);  // no string: ignored
    const first = heard(bob, 'room'); // what comes from two cores has no order
    assert.equal(await ann.emitWithAck('to-room', 'tea', 'one', { two: 2 }), 'ok');
    await first;
    assert.equal(await eve.emitWithAck('to-room', 'tea', 'from outside'), 'ok');
    assert.equal(await ann.emitWithAck('leave', 'tea'), 'ok');
    assert.equal(await bob.emitWithAck('to-room', 'tea', 'nobody hears'), 'ok');
    await sleep(100);
    assert.deepEqual(got, { ann: [['from outside']], bob: [['one', { two: 2 }], ['from outside']], eve: [] });
  });

  test('a broadcast reaches all others in the namespace and nobody elsewhere', async () => {
    const [ann, bob, other] = [await client(), await client(), await client('/custom')];
    other.on('broadcast', () => assert.fail('of another namespace'));
    ann.on('broadcast', () => assert.fail('its own'));
    const waiting = heard(bob, 'broadcast');
    assert.equal(await ann.emitWithAck('broadcast', 'hear', Buffer.from([1, 2])), 'ok');
    assert.deepEqual(await waiting, ['hear', Buffer.from([1, 2])]);
  });

  test('auth, several namespaces over one connection, one that refuses', async () => {
    const socket = await client('/custom', { auth: { token: 'abc' } });
    assert.deepEqual(socket.authHeard, { token: 'abc' });
    const main = socket.io.socket('/', {});
    await heard(main, 'connect');
    assert.notEqual(main.id, socket.id);
    const refused = socket.io.socket('/private', { auth: { token: 'wrong' } });
    const [error] = await heard(refused, 'connect_error');
    assert.deepEqual([error.message, error.data], ['unauthorized', { code: 401 }]);
    refused.auth = { token: 'secret' };
    refused.connect();
    await heard(refused, 'connect');
    const nowhere = socket.io.socket('/nowhere');
    assert.equal((await heard(nowhere, 'connect_error'))[0].message, 'Invalid namespace');
    assert.deepEqual(await main.emitWithAck('message-with-ack', 1), 1);
  });

  test('binary both ways, nested, with acks', async () => {
    const socket = await client();
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const back = heard(socket, 'message-back');
    socket.emit('message', bytes, { deep: [bytes, { deeper: new Uint8Array([9, 8]) }] }, 'text');
    assert.deepEqual(await back, [bytes, { deep: [bytes, { deeper: Buffer.from([9, 8]) }] }, 'text']);
    assert.deepEqual(await socket.emitWithAck('message-with-ack', bytes), bytes);
    const large = Buffer.alloc(300_000, 0xa5);
    assert.ok(large.equals(await socket.timeout(5000).emitWithAck('message-with-ack', large)));
  });

  test('acks both ways, and the time-out of one that does not come', async () => {
    const socket = await client();
    socket.on('question', (a, b, ack) => ack({ sum: a + b, bytes: Buffer.from([a, b]) }));
    const answer = heard(socket, 'answer');
    socket.emit('ask', 2, 3);
    assert.deepEqual(await answer, [{ sum: 5, bytes: Buffer.from([2, 3]) }]);
    await assert.rejects(socket.timeout(100).emitWithAck('nobody-listens'), /timed out/);
    assert.deepEqual(await Promise.all([5, 4, 3].map((n) => socket.emitWithAck('message-with-ack', n))), [5, 4, 3]);
  });

  test('deep and large JSON', async () => {
    const socket = await client();
    let deep = 'the bottom';
    for (let i = 0; i < 25; ++i) deep = i % 2 ? [deep] : { in: deep };
    assert.deepEqual(await socket.timeout(5000).emitWithAck('message-with-ack', deep), deep);
    const large = Array.from({ length: 10_000 }, (_, i) => ({ i, text: `n${i} €` }));
    assert.deepEqual(await socket.timeout(5000).emitWithAck('message-with-ack', large), large);
  });

  test('a thousand events keep their order, those sent during an upgrade too; only volatile ones may be lost', async () => {
    const socket = await client();
    const back = [];
    const all = new Promise((resolve) => socket.on('message-back', (n) => back.push(n) && n === 1000 && resolve()));
    for (let i = 0; i <= 1000; ++i) {
      i % 7 === 0 ? socket.volatile.emit('message', i) : socket.emit('message', i);
      if (i % 100 === 0) await sleep(5);
    }
    await all;
    assert.deepEqual(back, [...back].sort((a, b) => a - b));
    assert.deepEqual(back.filter((n) => n % 7 !== 0).length, 858);
    if (upgrades) assert.equal(socket.io.engine.transport.name, 'websocket');
  });

  test('kick and kick-hard', async () => {
    const socket = await client();
    socket.emit('kick');
    assert.deepEqual((await heard(socket, 'disconnect'))[0], 'io server disconnect');
    const other = await client('/custom', { reconnection: false });
    other.emit('kick-hard');
    assert.ok(['io server disconnect', 'transport close'].includes((await heard(other, 'disconnect'))[0]));
    await sleep(50);
    assert.equal(other.io.engine.readyState, 'closed');
  });

  test('it stays connected over several heartbeats', async () => {
    const socket = await client();
    socket.on('disconnect', (reason) => assert.fail(reason));
    await sleep(1300);
    assert.equal(await socket.emitWithAck('message-with-ack', 'on'), 'on');
    socket.removeAllListeners();
  });
}

function restarts(server, client) {
  test('it comes back after a restart of the server', { timeout: 30_000 }, async () => {
    const socket = await client();
    const { id } = socket;
    const back = new Promise((resolve) => socket.io.once('reconnect', resolve));
    await server().restart();
    await back;
    if (!socket.connected) await heard(socket, 'connect');
    assert.notEqual(socket.id, id);
    assert.ok(!socket.recovered);
    assert.equal(await socket.emitWithAck('message-with-ack', 'back'), 'back');
  });
}

describe('connection state recovery', () => {
  let server;
  const sockets = [];
  before(async () => { server = await startConformance({ cores: 2, pingInterval: 1000, pingTimeout: 1000, recovery: true }); });
  after(async () => {
    for (const socket of sockets) leave(socket);
    await server?.stop();
  });
  const client = async (options = {}, namespace = '/') => {
    const socket = io(server.url + namespace, { forceNew: true, reconnectionDelay: 800, reconnectionDelayMax: 800, ...options });
    sockets.push(socket);
    await heard(socket, 'auth');
    return socket;
  };

  for (const [name, transports] of Object.entries(kTransports)) for (const namespace of ['/', '/custom']) {
    test(`${name} in ${namespace}: who comes back has its id, its rooms, and each missed packet once, in order`, async () => {
      const [ann, bob] = [await client(transports, namespace), await client(transports, namespace)];
      const got = [];
      bob.on('room', (...args) => got.push(args[0]));
      bob.on('broadcast', (...args) => got.push(args[0]));
      const room = `recovery ${name} ${namespace}`;
      await bob.emitWithAck('join', room);
      await ann.emitWithAck('to-room', room, 0);
      const { id } = bob;
      await sleep(50);
      const gone = heard(bob, 'disconnect');
      bob.io.engine.close();
      await gone;
      const back = heard(bob, 'connect');
      for (let i = 1; i <= 20; ++i) await ann.emitWithAck('to-room', room, i);
      await ann.emitWithAck('broadcast', 21, Buffer.from([1]));
      await ann.emitWithAck('to-room', 'another room', 'not for bob');
      await back;
      assert.equal(bob.recovered, true);
      assert.equal(bob.id, id);
      await ann.emitWithAck('to-room', room, 22);
      await sleep(200);
      assert.deepEqual(got, Array.from({ length: 23 }, (_, i) => i));
    });
  }

  test('on the wire: pid in the CONNECT reply, an offset as the last argument of an event, which brings back what followed', async () => {
    const wire = await OverWebSocket.open(server);
    await wire.send('0');
    const { sid, pid, ...rest } = JSON.parse((await wire.next()).slice(1));
    assert.deepEqual(rest, {});
    assert.ok(typeof pid === 'string' && pid !== sid);
    assert.match(await wire.next(), /^2\["auth",\{\}/);
    const ann = await client();
    await ann.emitWithAck('broadcast', 'one');
    const [event, arg, offset] = JSON.parse((await wire.next()).slice(1));
    assert.deepEqual([event, arg, typeof offset], ['broadcast', 'one', 'string']);
    await wire.send('20["message-with-ack",1]');
    assert.equal(await wire.next(), '30[1]', 'an ack has none');
    wire.leave();
    await sleep(50);
    await ann.emitWithAck('broadcast', 'two');
    const again = await OverWebSocket.open(server);
    await again.send(`0${JSON.stringify({ pid, offset })}`);
    const answers = [await again.next(), await again.next()].sort();  // clients keep what comes before the reply
    assert.deepEqual(JSON.parse(answers[0].slice(1)), { sid, pid });
    assert.deepEqual(JSON.parse(answers[1].slice(1)).slice(0, 2), ['broadcast', 'two']);
    again.leave();
  });

  test('a pid that nobody had, an offset that is none, and who said goodbye: a new session', async () => {
    const wire = await OverWebSocket.open(server);
    await wire.send('0{"pid":"nobody","offset":"nothing"}');
    assert.notEqual(JSON.parse((await wire.next()).slice(1)).pid, 'nobody');
    wire.leave();
    const first = await OverWebSocket.open(server);
    await first.send('0');
    const { sid, pid } = JSON.parse((await first.next()).slice(1));
    await first.next();
    await first.send('1');
    await sleep(50);
    first.leave();
    await sleep(50);
    const second = await OverWebSocket.open(server);
    await second.send(`0${JSON.stringify({ pid, offset: 'x' })}`);
    assert.notEqual(JSON.parse((await second.next()).slice(1)).sid, sid);
    second.leave();
  });

  test('after a restart of the server nothing is recovered, and it is said', { timeout: 30_000 }, async () => {
    const socket = await client();
    const { id } = socket;
    const back = new Promise((resolve) => socket.io.once('reconnect', resolve));
    await server.restart();
    await back;
    if (!socket.connected) await heard(socket, 'connect');
    assert.equal(socket.recovered, false);
    assert.notEqual(socket.id, id);
    assert.equal(await socket.emitWithAck('message-with-ack', 'back'), 'back');
  });
});
