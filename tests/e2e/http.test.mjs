// HTTP/1.1 as the real server speaks it. Node's own client is too polite for most of it, so requests are written to a socket by the byte.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { Client } from './client.mjs';
import { startServer } from './server.mjs';

const kAnswerMs = 10_000;
let server;

before(async () => {
  server = await startServer({ cores: 2, env: { RATE_LIMIT_GUESTS: '0', RATE_LIMIT_API_WRITES: '0', RATE_LIMIT_API_READS: '0', CLIENT_ORIGIN: 'https://chat.example' } });
});
after(() => server.stop());

// One answer at the start of `bytes`, or null while it is not whole. `head`: it has no body whatever its length says.
function parse(bytes, head) {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return null;
  const [line, ...fields] = bytes.subarray(0, end).toString('latin1').split('\r\n');
  const headers = {};
  for (const field of fields) {
    const colon = field.indexOf(': ');
    const name = field.slice(0, colon).toLowerCase();
    headers[name] = headers[name] === undefined ? field.slice(colon + 2) : `${headers[name]}, ${field.slice(colon + 2)}`;
  }
  const status = Number(line.split(' ')[1]);
  const size = head || status === 204 || status === 304 ? 0 : Number(headers['content-length']);
  assert.ok(size >= 0, `no length: ${line}`);
  const start = end + 4;
  if (bytes.length < start + size) return null;
  const body = bytes.subarray(start, start + size);
  const json = /json/.test(headers['content-type'] ?? '') && size > 0 ? JSON.parse(body) : null;
  return { status, headers, body, json, bytes: start + size };
}

// Writes the pieces one by one; resolves with all answers and whether the server closed, once there are `count` of them or it has.
function exchange(pieces, { count = Infinity, heads = [] } = {}) {
  return new Promise((resolve, reject) => {
    const socket = connect(server.port, '127.0.0.1');
    const answers = [];
    let rest = Buffer.alloc(0);
    const timer = setTimeout(() => { socket.destroy(); reject(new Error(`only ${answers.length} answers: ${rest}`)); }, kAnswerMs);
    const done = (closed) => { clearTimeout(timer); socket.destroy(); resolve({ answers, closed, rest }); };
    socket.setNoDelay(true);
    socket.on('connect', async () => {
      for (const piece of pieces) {
        if (!socket.writable) return;
        socket.write(piece);
        if (pieces.length > 1) await new Promise((next) => setTimeout(next, 2));
      }
    });
    socket.on('data', (bytes) => {
      rest = Buffer.concat([rest, bytes]);
      for (let answer; (answer = parse(rest, heads.includes(answers.length))); ) {
        answers.push(answer);
        rest = rest.subarray(answer.bytes);
      }
      if (answers.length >= count) done(false);
    });
    socket.on('close', () => done(true));
    socket.on('error', () => {});  // a close follows
  });
}

async function ask(method, path, headers = {}, body = '') {
  const lines = Object.entries({ Host: 'a', ...(body ? { 'Content-Length': Buffer.byteLength(body) } : {}), ...headers });
  const text = `${method} ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`;
  const { answers } = await exchange([text], { count: 1, heads: method === 'HEAD' ? [0] : [] });
  return answers[0];
}

// ---- The page

test('a file has a strong tag, and is not sent to who has it', async () => {
  for (const encoding of ['identity', 'gzip']) {
    const first = await ask('GET', '/js/main.js', { 'Accept-Encoding': encoding });
    assert.equal(first.status, 200);
    const etag = first.headers.etag;
    assert.match(etag, /^"[^"]+"$/);
    assert.equal(first.headers['cache-control'], 'no-cache');
    assert.match(first.headers.vary, /Accept-Encoding/);
    for (const given of [etag, `W/${etag}`, '*', `"x", ${etag}`, `"a,b",W/"y" , ${etag}`]) {
      for (const method of ['GET', 'HEAD']) {
        const again = await ask(method, '/js/main.js', { 'Accept-Encoding': encoding, 'If-None-Match': given });
        assert.equal(again.status, 304, given);
        assert.equal(again.headers.etag, etag);
        assert.equal(again.headers['cache-control'], 'no-cache');
        assert.match(again.headers.vary, /Accept-Encoding/);
        assert.equal(again.headers['content-length'], undefined);
        assert.equal(again.headers['content-encoding'], undefined);
      }
    }
    for (const given of ['"x"', etag.slice(1, -1), `"x, ${etag}`, ''])
      assert.equal((await ask('GET', '/js/main.js', { 'Accept-Encoding': encoding, 'If-None-Match': given })).status, 200, given);
  }
});

test('gzip where it is wanted', async () => {
  const plain = await ask('GET', '/');
  assert.equal(plain.headers['content-encoding'], undefined);
  for (const wanted of ['gzip', 'br, gzip;q=0.5', '*', 'X-GZIP']) {
    const zipped = await ask('GET', '/', { 'Accept-Encoding': wanted });
    assert.equal(zipped.headers['content-encoding'], 'gzip', wanted);
    assert.ok(zipped.body.length < plain.body.length);
    assert.deepEqual(gunzipSync(zipped.body), plain.body);
    assert.notEqual(zipped.headers.etag, plain.headers.etag);
    assert.equal(zipped.headers['content-type'], plain.headers['content-type']);
    assert.equal((await ask('HEAD', '/', { 'Accept-Encoding': wanted })).headers['content-length'], String(zipped.body.length));
  }
  for (const wanted of ['gzip;q=0', 'gzip;q=0.0, *', 'identity', 'br', 'identity;q=1, gzip;q=0.5']) {
    const answer = await ask('GET', '/', { 'Accept-Encoding': wanted });
    assert.equal(answer.headers['content-encoding'], undefined, wanted);
    assert.deepEqual(answer.body, plain.body);
  }
  const browser = await fetch(server.url);
  assert.equal(await browser.text(), plain.body.toString());
});

// ---- Methods

test('HEAD is GET without its body', async () => {
  const guest = (await ask('POST', '/api/v1/auth/guest', {}, '{"name":"head"}')).json;
  const Authorization = `Bearer ${guest.accessToken}`;
  for (const path of ['/', '/app.css', '/favicon.svg', '/health', '/livez', '/readyz', '/api/v1/rooms', '/nothing', '/api/v1/rooms/1']) {
    const got = await ask('GET', path, { Authorization });
    const head = await ask('HEAD', path, { Authorization });
    assert.equal(head.status, got.status, path);
    for (const name of ['content-type', 'etag', 'cache-control', 'vary', 'allow']) assert.equal(head.headers[name], got.headers[name], `${path} ${name}`);
    if (path !== '/health') assert.equal(head.headers['content-length'], got.headers['content-length'], path);
  }
  // The connection goes on right behind it.
  const { answers } = await exchange(['HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n'], { count: 2, heads: [0] });
  assert.equal(answers[1].json.status, 'alive');
});

test('a method that a path does not take is 405 with those that it does', async () => {
  const kReads = 'GET, HEAD, OPTIONS';
  const paths = {
    '/': kReads, '/app.css': kReads, '/health': kReads, '/livez': kReads, '/api/socket/stats': kReads,
    '/api/v1/rooms': 'POST, GET, HEAD, OPTIONS', '/api/v1/rooms/search': kReads, '/api/v1/rooms/1': kReads,
    '/api/v1/rooms/1/join': 'POST, OPTIONS', '/api/v1/rooms/1/messages': 'GET, HEAD, POST, OPTIONS', '/api/v1/auth/login': 'POST, OPTIONS',
  };
  for (const [path, allow] of Object.entries(paths)) {
    for (const method of ['PUT', 'DELETE', 'BREW', 'get', 'TRACE']) {
      const answer = await ask(method, path);
      assert.equal(answer.status, 405, `${method} ${path}`);
      assert.equal(answer.headers.allow, allow, `${method} ${path}`);
      assert.equal(answer.headers['content-type'], 'application/problem+json');
      assert.equal(answer.json.status, 405);
      assert.equal(answer.json.code, 'invalid');
    }
    const options = await ask('OPTIONS', path);
    assert.equal(options.status, 204);
    assert.equal(options.headers.allow, allow);
    assert.equal(options.headers['access-control-allow-methods'], undefined);
  }
  assert.match((await ask('OPTIONS', '*')).headers.allow, /GET.*DELETE/);
});

test('what is not there is 404 as a problem', async () => {
  for (const path of ['/nothing', '/js/', '/index.html', '/api', '/api/v1', '/api/v1/', '/api/v1/nothing', '/api/v1/rooms/', '/api/v1/rooms//join', '/api/v1/auth/', '/api/v1/auth/x', '/%2e%2e/etc/passwd', '/../assets.cpp']) {
    for (const method of ['GET', 'POST', 'OPTIONS', 'BREW']) {
      const answer = await ask(method, path);
      assert.equal(answer.status, 404, `${method} ${path}`);
      assert.equal(answer.headers['content-type'], 'application/problem+json');
      assert.equal(answer.json.code, 'not_found');
      assert.equal(answer.json.status, 404);
    }
  }
});

test('pages of other origins', async () => {
  const good = { Origin: 'https://chat.example' };
  const preflight = await ask('OPTIONS', '/api/v1/rooms', { ...good, 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'authorization, x-mine' });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers['access-control-allow-origin'], good.Origin);
  assert.match(preflight.headers['access-control-allow-methods'], /POST/);
  assert.equal(preflight.headers['access-control-allow-headers'], 'authorization, x-mine');
  assert.ok(Number(preflight.headers['access-control-max-age']) > 0);
  assert.match(preflight.headers.vary, /Origin/);
  // The browser then sees the real answer, whatever it is.
  const missing = await ask('OPTIONS', '/api/v1/nothing', { ...good, 'Access-Control-Request-Method': 'GET' });
  assert.equal(missing.headers['access-control-allow-origin'], good.Origin);
  assert.equal((await ask('GET', '/api/v1/nothing', good)).headers['access-control-allow-origin'], good.Origin);
  const bad = await ask('OPTIONS', '/api/v1/rooms', { Origin: 'https://evil.example', 'Access-Control-Request-Method': 'POST' });
  assert.equal(bad.headers['access-control-allow-origin'], undefined);
  assert.equal(bad.headers['access-control-allow-methods'], undefined);
  assert.match((await ask('GET', '/livez')).headers.vary, /Origin/, 'also where no Origin came');
  assert.equal((await ask('GET', '/livez')).headers['cache-control'], 'no-store');
});

// ---- Requests by the byte

test('pipelined requests are answered in order, however they are cut', async () => {
  const guest = (await ask('POST', '/api/v1/auth/guest', {}, '{"name":"pipe"}')).json;
  const text = 'GET /livez HTTP/1.1\r\nHost: a\r\n\r\n'
    + `GET /api/v1/rooms HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${guest.accessToken}\r\n\r\n`
    + 'POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n'
    + '\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n'
    + 'GET http://other/nothing HTTP/1.1\r\nHost: a\r\n\r\n'
    + 'GET /app.css HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    + 'GET /never HTTP/1.1\r\nHost: a\r\n\r\n';
  const middle = Math.floor(text.length / 2);
  for (const pieces of [[text], [text.slice(0, middle), text.slice(middle)], text.match(/[^]{1,7}/g)]) {
    const { answers, closed } = await exchange(pieces, { heads: [3] });
    assert.deepEqual(answers.map((answer) => answer.status), [200, 200, 400, 200, 404, 200]);
    assert.equal(answers[5].headers.connection, 'close');
    assert.ok(closed);
  }
});

test('what cannot be read, or in two ways, is refused with its code, and the connection closed', async () => {
  const cases = [
    ['length and chunks', 'POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400],
    ['two lengths', 'POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde', 400],
    ['a list of lengths', 'POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nabcde', 400],
    ['a signed length', 'POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nabcde', 400],
    ['a folded line', 'GET /livez HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n', 400],
    ['a space before the colon', 'GET /livez HTTP/1.1\r\nHost : a\r\n\r\n', 400],
    ['a bare LF', 'GET /livez HTTP/1.1\nHost: a\n\n', 400],
    ['a bare CR', 'GET /livez HTTP/1.1\r\nHost: a\rX: b\r\n\r\n', 400],
    ['a NUL', 'GET /livez HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n', 400],
    ['no host', 'GET /livez HTTP/1.1\r\n\r\n', 400],
    ['two hosts', 'GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400],
    ['authority form', 'CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['HTTP/1.0 with chunks', 'POST /livez HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400],
    ['a chunk size above 64 bits', 'POST /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\n', 400],
    ['a TLS hello', '\x16\x03\x01\x02\x00\x01\x00', 400],
    ['another coding', 'POST /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n', 501],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505],
    ['a long body', 'POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n', 413],
    ['a long chunk', 'POST /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n', 413],
    ['a long target', `GET /${'x'.repeat(9000)} HTTP/1.1\r\nHost: a\r\n\r\n`, 414],
    ['a long head', `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20000)}\r\n\r\n`, 431],
    ['many headers', `GET / HTTP/1.1\r\nHost: a\r\n${'X: y\r\n'.repeat(5000)}\r\n`, 431],
    ['a miracle', 'GET /livez HTTP/1.1\r\nHost: a\r\nExpect: a-miracle\r\n\r\n', 417],
  ];
  await Promise.all(cases.map(async ([what, text, status]) => {  // each is kept open for a moment, so that the answer is not lost
    const { answers, closed } = await exchange([Buffer.from(`${text}GET /livez HTTP/1.1\r\nHost: a\r\n\r\n`, 'latin1')]);
    assert.deepEqual(answers.map((answer) => answer.status), [status], `${what}: nothing behind it is taken for a request`);
    assert.equal(answers[0].headers.connection, 'close', what);
    assert.equal(answers[0].headers['content-type'], 'application/problem+json', what);
    assert.equal(answers[0].json.status, status, what);
    assert.ok(closed, what);
  }));
});

test('a body is read as it was meant', async () => {
  const name = `body ${process.pid}`;
  const body = JSON.stringify({ name });
  const chunks = `${body.slice(0, 5).length.toString(16)};a="b"\r\n${body.slice(0, 5)}\r\n${(body.length - 5).toString(16)}\r\n${body.slice(5)}\r\n0\r\nX-Trailer: t\r\n\r\n`;
  const { answers } = await exchange([`POST /api/v1/auth/guest HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}`], { count: 1 });
  assert.equal(answers[0].status, 201);
  assert.equal(answers[0].json.user.displayName ?? answers[0].json.user.username, name);
});

test('100 Continue is said before the body is waited for', async () => {
  const socket = connect(server.port, '127.0.0.1');
  socket.write('POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n');
  const first = await new Promise((resolve) => socket.once('data', resolve));
  assert.equal(String(first), 'HTTP/1.1 100 Continue\r\n\r\n');
  socket.write('{}');
  const second = await new Promise((resolve) => socket.once('data', resolve));
  assert.match(String(second), /^HTTP\/1.1 400 /);
  socket.destroy();
});

// ---- Idempotency-Key

const signIn = async (name) => (await ask('POST', '/api/v1/auth/guest', {}, JSON.stringify({ name }))).json;
const postAs = (who, path, body, key) => ask('POST', path, { Authorization: `Bearer ${who.accessToken}`, ...(key ? { 'Idempotency-Key': key } : {}) }, body);
const room = (name) => JSON.stringify({ type: 'group', name, private: true });  // names of private ones may be the same

test('a POST under the same key is answered as the first time, and made once', async () => {
  const ann = await signIn('ann');
  const bob = await signIn('bob');
  const first = await postAs(ann, '/api/v1/rooms', room('once'), 'key 1');
  assert.equal(first.status, 201);
  assert.equal(first.headers.location, `/api/v1/rooms/${first.json.room.id}`);
  for (let i = 0; i < 5; i += 1) {  // each on a connection of its own, so on either core
    const again = await postAs(ann, '/api/v1/rooms', room('once'), 'key 1');
    assert.equal(again.status, 201);
    assert.deepEqual(again.body, first.body);
    assert.equal(again.headers.location, first.headers.location);
    assert.equal(again.headers['content-type'], first.headers['content-type']);
  }
  const other = await postAs(ann, '/api/v1/rooms', room('other'), 'key 1');
  assert.equal(other.status, 409);
  assert.equal(other.json.code, 'conflict');
  assert.notEqual((await postAs(ann, '/api/v1/rooms', room('once'), 'key 2')).json.room.id, first.json.room.id, 'another key');
  assert.notEqual((await postAs(ann, '/api/v1/rooms', room('once'))).json.room.id, first.json.room.id, 'no key');
  const bobs = await postAs(bob, '/api/v1/rooms', room('once'), 'key 1');
  assert.equal(bobs.status, 201);
  assert.notEqual(bobs.json.room.id, first.json.room.id, 'another user');
  const left = await postAs(ann, `/api/v1/rooms/${first.json.room.id}/leave`, '', 'key 1');
  assert.equal(left.status, 200, 'another path');
  const socket = await Client.connect(server.url, { token: ann.accessToken });
  const mine = socket.ready.rooms.filter((one) => one.name === 'once');
  assert.equal(mine.length, 2, 'those made under another key and under none; the first is left');
  await socket.close();
});

test('two at once: the second waits for the first', async () => {
  for (let round = 0; round < 10; round += 1) {
    const carl = await signIn(`carl ${round}`);
    const answers = await Promise.all(Array.from({ length: 8 }, () => postAs(carl, '/api/v1/rooms', room(`at once ${round}`), 'k')));
    for (const answer of answers) {
      assert.equal(answer.status, 201);
      assert.equal(answer.json.room.id, answers[0].json.room.id);
    }
  }
});

test('what was decided is kept, what was not tried is not', async () => {
  const dora = await signIn('dora');
  const missing = await postAs(dora, '/api/v1/rooms/999999999999/join', '', 'k');
  assert.equal(missing.status, 404);
  const again = await postAs(dora, '/api/v1/rooms/999999999999/join', '', 'k');
  assert.equal(again.status, 404);
  assert.deepEqual(again.body, missing.body);
  assert.equal(again.headers['content-type'], 'application/problem+json');
  assert.equal((await postAs(dora, '/api/v1/rooms', '{"type":"castle"}', 'k')).status, 400);
  assert.equal((await postAs(dora, '/api/v1/rooms', room('corrected'), 'k')).status, 201);
  assert.equal((await postAs(dora, '/api/v1/rooms', room('long'), 'k'.repeat(256))).status, 400);
  assert.equal((await ask('POST', '/api/v1/rooms', { 'Idempotency-Key': 'k' }, room('who'))).status, 401);
});

test('the key of a message is its clientId, and outlives a restart', async () => {
  const emil = await signIn('emil');
  const made = await postAs(emil, '/api/v1/rooms', room('messages'), 'k');
  const path = `/api/v1/rooms/${made.json.room.id}/messages`;
  const sent = await postAs(emil, path, '{"text":"once"}', 'k');
  assert.equal(sent.status, 201);
  assert.equal((await postAs(emil, path, '{"text":"once"}', 'k')).json.message.id, sent.json.message.id);
  await server.restart();
  assert.equal((await postAs(emil, path, '{"text":"once"}', 'k')).json.message.id, sent.json.message.id);
  const page = await ask('GET', path, { Authorization: `Bearer ${emil.accessToken}` });
  assert.deepEqual(page.json.messages.map((message) => message.text), ['once']);
});
