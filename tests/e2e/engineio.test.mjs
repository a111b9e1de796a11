// Engine.IO 4 to the letter, on the conformance server's echo at /engine.io/: with one core and with two, over connections that are kept and with a new one
// for every request, so that on two cores any request may come in on the wrong one. What is expected is what the reference server does.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { kMaxPayload, kPingInterval, kPingTimeout, startConformance } from './conformance.mjs';
import { Http, Polling, pollingPath, websocketPath } from './polling.mjs';
import { Op, RawSocket, RawWebSocket, frame, readResponse } from './raw.mjs';

const kLateMs = 120;  // how late a timer's effect may be seen on a busy machine,
const kEarlyMs = 30;  // and its cause, which makes it look early
const kTimerMs = 8;   // how late a session may end: who comes back after exactly the time-out is told 400
const kRounds = 20;   // of what is a race
const kOpenKeys = ['maxPayload', 'pingInterval', 'pingTimeout', 'sid', 'upgrades'];

const kPath = pollingPath('/engine.io/');
const kWsPath = websocketPath('/engine.io/');
const badRequest = { code: 3, message: 'Bad request' };

for (const cores of [1, 2]) for (const fresh of [false, true]) {
  describe(`Engine.IO, ${cores} core${cores > 1 ? 's' : ''}, ${fresh ? 'a new connection for every request' : 'connections are kept'}`, () => {
    let server;
    let http;
    before(async () => {
      server = await startConformance({ cores });
      http = new Http(server.port, fresh);
    });
    after(async () => {
      http?.close();
      await server?.stop();
    });
    const open = () => Polling.open(http, '/engine.io/');
    const websocket = async (path = kWsPath) => {
      const socket = await RawWebSocket.open(server.port, path);
      if (path === kWsPath) socket.handshake = JSON.parse((await socket.string()).slice(1));
      return socket;
    };
    const probed = async (session) => {
      const socket = await websocket(session.wsPath);
      socket.text('2probe');
      assert.equal(await socket.string(), '3probe');
      return socket;
    };

    handshakes(() => ({ server, http }), open);
    refusals(() => ({ server, http }));
    messages(open, websocket);
    polls(() => ({ server, http }), open);
    heartbeats(() => ({ http }), open, websocket);
    upgrades(() => ({ server, http }), open, websocket, probed);
    origins(() => ({ server, http }), open);
  });
}

function handshakes(at, open) {
  test('a session opens over polling', async () => {
    const answer = await at().http.ask(kPath);
    assert.equal(answer.status, 200);
    assert.match(answer.headers['content-type'], /^text\/plain; ?charset=utf-8$/i);
    assert.equal(answer.text[0], '0');
    const { sid, ...rest } = JSON.parse(answer.text.slice(1));
    assert.deepEqual(rest, { upgrades: ['websocket'], pingInterval: kPingInterval, pingTimeout: kPingTimeout, maxPayload: kMaxPayload });
    assert.match(sid, /^[A-Za-z0-9_-]{16,}$/, 'it goes into a URL as it is, and cannot be guessed');
  });

  test('a session opens over WebSocket, with nothing to upgrade to', async () => {
    const socket = await RawWebSocket.open(at().server.port, kWsPath);
    const text = await socket.string();
    assert.equal(text[0], '0');
    const handshake = JSON.parse(text.slice(1));
    assert.deepEqual(Object.keys(handshake).sort(), kOpenKeys);
    assert.deepEqual(handshake.upgrades, []);
    assert.equal(handshake.maxPayload, kMaxPayload);
    socket.destroy();
  });

  test('no two sessions share an id; unknown keys of the query are ignored', async () => {
    const sids = new Set();
    for (let i = 0; i < kRounds; ++i) sids.add((await Polling.open(at().http, '/engine.io/', `&t=abc${i}&b64=1&x`)).sid);
    assert.equal(sids.size, kRounds);
  });

  test('JSONP is not offered: the answer is text that no script tag can run', async () => {
    const answer = await at().http.ask(`${kPath}&j=0`);
    if (answer.status !== 400) {
      assert.match(answer.headers['content-type'], /^text\/plain/);
      assert.equal(answer.text[0], '0');
    }
    assert.ok(!answer.text.includes('___eio'));
    const session = await open();
    await session.send('4x');
    assert.equal((await at().http.ask(`${session.path}&j=1`)).text.includes('___eio'), false);
  });
}

function refusals(at) {
  const cases = [
    ['no transport', 'GET', 'EIO=4', 0, 'Transport unknown'],
    ['an unknown transport', 'GET', 'EIO=4&transport=abc', 0, 'Transport unknown'],
    ['a transport by a name of objects', 'GET', 'EIO=4&transport=constructor', 0, 'Transport unknown'],
    ['no version', 'GET', 'transport=polling', 5, 'Unsupported protocol version'],
    ['version abc', 'GET', 'EIO=abc&transport=polling', 5, 'Unsupported protocol version'],
    ['version 3', 'GET', 'EIO=3&transport=polling', 5, 'Unsupported protocol version'],
    ['version 5', 'GET', 'EIO=5&transport=polling', 5, 'Unsupported protocol version'],
    ['version 44', 'GET', 'EIO=44&transport=polling', 5, 'Unsupported protocol version'],
    ['POST without sid', 'POST', 'EIO=4&transport=polling', 2, 'Bad handshake method'],
    ['PUT without sid', 'PUT', 'EIO=4&transport=polling', 2, 'Bad handshake method'],
    ['DELETE without sid', 'DELETE', 'EIO=4&transport=polling', 2, 'Bad handshake method'],
    ['an unknown sid', 'GET', 'EIO=4&transport=polling&sid=abcdefghijklmnopqrst', 1, 'Session ID unknown'],
    ['POST to an unknown sid', 'POST', 'EIO=4&transport=polling&sid=abcdefghijklmnopqrst', 1, 'Session ID unknown'],
    ['a sid that is no sid', 'GET', 'EIO=4&transport=polling&sid=%00%ff%2f..', 1, 'Session ID unknown'],
    ['a sid of great length', 'GET', `EIO=4&transport=polling&sid=${'a'.repeat(2000)}`, 1, 'Session ID unknown'],
    ['WebSocket without an upgrade', 'GET', 'EIO=4&transport=websocket', 3, 'Bad request'],
  ];
  for (const [name, method, query, code, message] of cases) {
    test(`refused with 400, code ${code}: ${name}`, async () => {
      const answer = await at().http.ask(`/engine.io/?${query}`, { method, body: method === 'GET' || method === 'DELETE' ? null : '' });
      assert.equal(answer.status, 400, answer.text);
      assert.match(answer.headers['content-type'], /^application\/json/);
      assert.deepEqual(JSON.parse(answer.text), { code, message });
    });
  }

  const upgrades = [
    ['no transport', 'EIO=4', 'Transport unknown'],
    ['an unknown transport', 'EIO=4&transport=abc', 'Transport unknown'],
    ['an unknown sid', 'EIO=4&transport=websocket&sid=abcdefghijklmnopqrst', 'Session ID unknown'],
    ['no version', 'transport=websocket', 'Unsupported protocol version'],
    ['version abc', 'EIO=abc&transport=websocket', 'Unsupported protocol version'],
    ['version 3', 'EIO=3&transport=websocket', 'Unsupported protocol version'],
  ];
  for (const [name, query, message] of upgrades) {
    test(`an upgrade is refused: ${name}`, async () => {
      const { response, socket } = await RawWebSocket.ask(at().server.port, `/engine.io/?${query}`);
      if (response?.status === 101) {  // for a wrong version the reference upgrades first and closes then
        assert.ok(message.includes('version'), 'refused with 400');
        assert.ok(await socket.raw.end(kPingInterval));
        return;
      }
      socket.destroy();
      assert.equal(response?.status, 400);
      assert.ok(response.body.includes(message), response.body);
    });
  }

  test('another method on a session is refused and costs it nothing', async () => {
    const session = await Polling.open(at().http, '/engine.io/');
    for (const method of ['PUT', 'DELETE', 'PATCH']) {
      const { status } = await session.poll({ method }).catch(() => ({ status: 500 }));
      assert.ok(status >= 400, `${method}: ${status}`);
    }
    await session.send('4still here');
    assert.deepEqual(await session.packets(1), ['4still here']);
  });
}

function messages(open, websocket) {
  const payloads = [
    ['one text', ['4hello']],
    ['an empty text', ['4']],
    ['several', ['4one', '4two', '4three']],
    ['text of many bytes a character', ['4€uro', '4😀 \u2028 \u0000 ü']],
    ['binary', ['bAQIDBA==']],
    ['binary of every rest of three', ['bAA==', 'bAAE=', 'bAAEC', 'b//79/A==']],
    ['text and binary in turn', ['4hello', 'bAQIDBA==', '4again', 'bBQ==']],
    ['text that looks like packets', ['4b', '42', '4{"a":1}', '44']],
    ['a hundred', Array.from({ length: 100 }, (_, i) => `4packet ${i}`)],
  ];
  for (const [name, packets] of payloads) {
    test(`over polling, both ways: ${name}`, async () => {
      const session = await open();
      await session.send(packets.join('\x1e'));
      const answer = await session.poll();
      assert.equal(answer.text, packets.join('\x1e'), 'the echoes of one POST come back in one poll, in order');
      assert.equal(Number(answer.headers['content-length']), Buffer.byteLength(answer.text));
    });
  }

  test('a poll that is open gets what comes, at once and in order', async () => {
    const session = await open();
    for (let i = 0; i < kRounds; ++i) {
      const poll = session.poll();
      await session.send(`4a${i}\x1e4b${i}`);
      const first = (await poll).text.split('\x1e');
      const all = first.length === 2 ? first : [...first, ...(await session.packets(1))];
      assert.deepEqual(all, [`4a${i}`, `4b${i}`]);
    }
  });

  test('posts one after the other are heard in order', async () => {
    const session = await open();
    const sent = Array.from({ length: kRounds }, (_, i) => `4n${i}`);
    for (const packet of sent) await session.send(packet);
    assert.deepEqual(await session.packets(kRounds), sent);
  });

  test('a payload as large as maxPayload goes both ways; one byte more is 413', async () => {
    const session = await open();
    const largest = `4${'x'.repeat(kMaxPayload - 1)}`;
    await session.send(largest);
    assert.equal((await session.packets(1))[0] === largest, true);
    const other = await open();
    const { status } = await other.post(`${largest}x`).catch((error) => ({ status: error.code }));
    assert.equal(status, 413);
    await session.send('4neighbours live');
    assert.deepEqual(await session.packets(1), ['4neighbours live']);
  });

  test('over WebSocket text and binary go both ways, in order', async () => {
    const socket = await websocket();
    for (const text of ['4hello', '4', '4€😀', `4${'y'.repeat(70_000)}`]) {
      socket.text(text);
      assert.equal(await socket.string(), text);
    }
    for (const size of [0, 4, 126, 70_000]) {
      const bytes = Buffer.alloc(size, 0xfe);
      socket.binary(bytes);
      const echo = await socket.message();
      assert.equal(echo.opcode, Op.binary);
      assert.ok(echo.data.equals(bytes));
    }
    socket.write(Buffer.concat([frame(Op.text, '4a'), frame(Op.binary, 'b'), frame(Op.text, '4c')]));
    const heard = [await socket.string(), (await socket.message()).data.toString(), await socket.string()];
    assert.deepEqual(heard, ['4a', 'b', '4c']);
    socket.destroy();
  });

  test('a frame above maxPayload closes the WebSocket with 1009', async () => {
    const socket = await websocket();
    socket.text(`4${'x'.repeat(kMaxPayload)}`);
    assert.equal(await socket.closed(), 1009);
  });

  for (const body of ['abc', '7', '', '\x1e', '4good\x1exyz', '4good\x1e', '2', '{}', '\u00e9']) {
    test(`an invalid payload ends the session: ${JSON.stringify(body)}`, async () => {
      const session = await open();
      const { status } = await session.post(body).catch(() => ({ status: 400 }));
      assert.ok(status === 400 || status === 200, `${status}`);
      await session.gone();
    });
  }

  for (const text of ['abc', '7', 'x', '']) {
    test(`an invalid packet closes the WebSocket: ${JSON.stringify(text)}`, async () => {
      const socket = await websocket();
      socket.text(text);
      const code = await socket.closed(kPingInterval);
      assert.notEqual(code, null, 'closed at once, not by the heartbeat');
    });
  }
}

function polls(at, open) {
  test('a second poll while one is open ends the session', async () => {
    const session = await open();
    const first = session.poll();
    await sleep(20);
    const second = await session.poll();
    assert.ok([400, 500].includes(second.status), `${second.status}`);
    const { status, text } = await first;
    assert.deepEqual([status, text], [200, '1']);
    await session.gone();
  });

  test('a poll that its client gives up ends the session', async () => {
    const session = await open();
    const abort = new AbortController();
    const poll = session.poll({ signal: abort.signal }).catch((error) => error.name);
    await sleep(20);
    abort.abort();
    assert.equal(await poll, 'AbortError');
    await sleep(20);
    await session.gone();
  });

  test('a close packet lets the open poll go with a noop and ends the session', async () => {
    const session = await open();
    const poll = session.poll();
    await sleep(20);
    await session.send('1');
    const { status, text } = await poll;
    assert.deepEqual([status, text], [200, '6']);
    await session.gone();
  });

  test('a close packet on the heels of a poll, on another connection, does not overtake it', async () => {
    for (let i = 0; i < kRounds; ++i) {
      const session = await open();
      const poll = session.poll();
      const sent = session.send('1');
      const { status, text } = await poll;
      assert.deepEqual([status, text], [200, '6'], `round ${i}`);
      await sent;
      await session.gone();
    }
  });

  test('what stands behind a close packet is not heard', async () => {
    const session = await open();
    await session.post('1\x1e4late').catch(() => {});
    const { status, text } = await session.poll();  // a poll may still be let go, as one that is on its way
    assert.ok(status === 400 || text === '6', `${status} ${text}`);
    await session.gone();
  });

  test('a body in pieces and in chunks is one payload', async () => {
    const session = await open();
    const raw = await RawSocket.open(at().server.port);
    raw.write(`POST ${session.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n4he`);
    await sleep(20);
    raw.write('ll');
    await sleep(20);
    raw.write('o€'.slice(0, 1));
    await sleep(20);
    raw.write('!');
    assert.deepEqual((await readResponse(raw)).status, 200);
    raw.write(`POST ${session.path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n4in\r\n4\r\n two\r\n0\r\n\r\n`);
    assert.deepEqual((await readResponse(raw)).status, 200);
    raw.destroy();
    assert.deepEqual(await session.packets(2), ['4hello!', '4in two']);
  });

  test('sessions do not hear each other', async () => {
    const sessions = [];
    for (let i = 0; i < 8; ++i) sessions.push(await open());
    await Promise.all(sessions.map((session, i) => session.send(`4for ${i}`)));
    assert.deepEqual(await Promise.all(sessions.map((session) => session.packets(1))), sessions.map((_, i) => [`4for ${i}`]));
  });
}

function heartbeats(at, open, websocket) {
  const near = (ms, expected, what) => assert.ok(ms >= expected - kEarlyMs && ms <= expected + kLateMs, `${what} after ${ms.toFixed(1)} ms instead of ${expected}`);

  test('over polling: a ping every interval, on an idle poll too, as long as they are answered', async () => {
    const session = await open();
    let since = performance.now();
    for (let i = 0; i < 3; ++i) {
      const { status, text } = await session.poll();
      assert.deepEqual([status, text], [200, '2']);
      near(performance.now() - since, kPingInterval, 'ping');
      since = performance.now();
      await session.send('3');
    }
  });

  test('over polling: without an answer the session ends, not early and not a poll too late', async () => {
    const silent = await open();
    const opened = performance.now();
    assert.equal((await silent.poll()).text, '2');
    const late = await open();
    await sleep(kPingInterval + kPingTimeout - (performance.now() - opened) + kTimerMs);
    await silent.gone();
    assert.equal((await late.poll()).text, '2');
    await sleep(kPingTimeout * 0.6);
    await late.send('3');
    await sleep(kPingTimeout * 0.6);
    await late.send('4still here');
    assert.deepEqual(await late.packets(1), ['4still here']);
  });

  test('over polling: a session that is never polled ends too', async () => {
    const { http } = at();
    await http.ask('/health');  // its connection is warm
    const session = await open();
    await sleep(kPingInterval + kPingTimeout + kTimerMs);
    await session.gone();
  });

  test('over polling: a poll that is open when the session times out is answered', async () => {
    const session = await open();
    assert.equal((await session.poll()).text, '2');
    const since = performance.now();
    const { status } = await session.poll();
    assert.ok([200, 400].includes(status));
    near(performance.now() - since, kPingTimeout, 'the end');
  });

  test('over WebSocket: a ping every interval, closed without an answer', async () => {
    const socket = await websocket();
    let since = performance.now();
    for (let i = 0; i < 3; ++i) {
      assert.equal(await socket.string(), '2');
      near(performance.now() - since, kPingInterval, 'ping');
      since = performance.now();
      socket.text('3');
    }
    assert.equal(await socket.string(), '2');
    assert.notEqual(await socket.closed(), null);
    near(performance.now() - since, kPingInterval + kPingTimeout, 'the end');
  });

  test('over WebSocket: messages alone do not answer a ping, a close packet ends it', async () => {
    const talker = await websocket();
    const since = performance.now();
    let last;
    while (last !== null && !String(last).startsWith('closed') && performance.now() - since < 1000) {
      talker.text('4x');
      await sleep(50);
      last = await talker.string(200);
    }
    assert.ok(performance.now() - since < 900, 'closed though it talks');
    const leaver = await websocket();
    leaver.text('1');
    assert.notEqual(await leaver.closed(1000), null);
  });
}

function upgrades(at, open, websocket, probed) {
  test('probe, noop to the open poll, upgrade, then all goes over WebSocket', async () => {
    const session = await open();
    await session.send('4before');
    assert.deepEqual(await session.packets(1), ['4before']);
    const poll = session.poll();
    const socket = await probed(session);
    const { status, text } = await poll;
    assert.deepEqual([status, text], [200, '6']);
    socket.text('5');
    socket.text('4hello');
    assert.equal(await socket.string(), '4hello');
    assert.equal(await socket.string(), '2', 'the heartbeat goes on over WebSocket');
    socket.destroy();
  });

  test('a poll that follows the probe gets the noop', async () => {
    const session = await open();
    const socket = await probed(session);
    assert.equal((await session.poll()).text, '6');
    socket.text('5');
    socket.text('4hello');
    assert.equal(await socket.string(), '4hello');
    socket.destroy();
  });

  test('what waits for a poll while the upgrade goes on comes over WebSocket, in order', async () => {
    const session = await open();
    const socket = await probed(session);
    await session.send('4one\x1ebAg==');
    socket.write(Buffer.concat([frame(Op.text, '5'), frame(Op.text, '4three')]));
    assert.equal(await socket.string(), '4one');
    assert.ok((await socket.message()).data.equals(Buffer.from([2])));
    assert.equal(await socket.string(), '4three');
    socket.destroy();
  });

  test('probe, upgrade and messages without waiting, in one segment', async () => {
    for (let i = 0; i < kRounds; ++i) {
      const session = await open();
      const socket = await websocket(session.wsPath);
      socket.write(Buffer.concat(['2probe', '5', '4hello', '4there'].map((text) => frame(Op.text, text))));
      const heard = [await socket.string(), await socket.string(), await socket.string()];
      assert.deepEqual(heard, ['3probe', '4hello', '4there']);
      socket.destroy();
    }
  });

  test('a request on a new connection right after the upgrade is 400, and the session lives on', async () => {
    for (let i = 0; i < kRounds; ++i) {
      const session = await open();
      const socket = await probed(session);
      socket.text('5');
      const answer = i % 2 ? await session.post('4late') : await session.poll();
      assert.equal(answer.status, 400, `round ${i}: ${answer.text}`);
      assert.deepEqual(JSON.parse(answer.text), badRequest);
      socket.text('4hello');
      assert.equal(await socket.string(), '4hello');
      socket.destroy();
    }
  });

  test('a second WebSocket with the same sid is closed, and the first lives on', async () => {
    const session = await open();
    const first = await probed(session);
    const early = await RawWebSocket.ask(at().server.port, session.wsPath);
    if (early.response?.status === 101) assert.notEqual(await early.socket.closed(), null, 'while the first is being probed');
    first.text('5');
    const second = await RawWebSocket.ask(at().server.port, session.wsPath);
    if (second.response?.status === 101) assert.notEqual(await second.socket.closed(), null, 'when the first has upgraded');
    first.text('4hello');
    assert.equal(await first.string(), '4hello');
    first.destroy();
  });

  test('a session born on WebSocket takes no polls', async () => {
    const socket = await websocket();
    const answer = await at().http.ask(`${kPath}&sid=${socket.handshake.sid}`);
    assert.equal(answer.status, 400);
    assert.deepEqual(JSON.parse(answer.text), badRequest);
    socket.text('4hello');
    assert.equal(await socket.string(), '4hello');
    socket.destroy();
  });

  test('a WebSocket that goes before it has upgraded costs the session nothing', async () => {
    for (const leave of [(socket) => socket.destroy(), (socket) => socket.close(), (socket) => socket.text('4not a probe'), (socket) => socket.raw.reset()]) {
      const session = await open();
      const socket = await websocket(session.wsPath);
      leave(socket);
      await sleep(20);
      await session.send('4polling goes on');
      assert.deepEqual(await session.packets(1), ['4polling goes on']);
      socket.destroy();
    }
  });

  test('an upgraded session ends with its WebSocket', async () => {
    const session = await open();
    const socket = await probed(session);
    socket.text('5');
    socket.text('4x');
    assert.equal(await socket.string(), '4x');
    socket.destroy();
    await sleep(50);
    await session.gone();
  });
}

function origins(at, open) {
  const origin = 'http://localhost:4711';  // here every origin may; which ones may where the operator says so is tested on the product
  test('CORS: an allowed origin is named in every answer, a refusal too', async () => {
    const session = await open();
    await session.send('4x');
    for (const path of [kPath, session.path, '/engine.io/?EIO=4&transport=abc']) {
      const named = (await at().http.ask(path, { headers: { Origin: origin } })).headers['access-control-allow-origin'];
      assert.ok(named === origin || named === '*', `${path}: ${named}`);
    }
  });

  test('CORS: a preflight is answered', async () => {
    const answer = await at().http.ask(kPath, { method: 'OPTIONS',
      headers: { Origin: origin, 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'content-type' } });
    assert.ok([200, 204].includes(answer.status), `${answer.status}`);
    assert.ok([origin, '*'].includes(answer.headers['access-control-allow-origin']));
    assert.match(answer.headers['access-control-allow-methods'], /POST/);
    assert.match(answer.headers['access-control-allow-headers'], /content-type|\*/i);
  });
}
