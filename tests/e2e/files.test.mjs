// Files, end to end: by links, through the server, in messages; who may read them; what comes against what was declared; the place that keeps them away.
// In a folder, or with S3_ENDPOINT, S3_ACCESS_KEY and S3_SECRET_KEY in the S3 that they name (scripts/services): the same tests.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, request as httpRequest } from 'node:http';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, get, post } from './client.mjs';
import { Gate } from './gate.mjs';
import { RawSocket, readResponse } from './raw.mjs';
import { startServer, until } from './server.mjs';

const kS3 = process.env.S3_ENDPOINT ?? null;
const kBucket = `ringline-e2e-${process.pid}`;
const kEnv = { RATE_LIMIT_GUESTS: '0', RATE_LIMIT_API_WRITES: '0', RATE_LIMIT_API_READS: '0', RATE_LIMIT_MESSAGES: '0', BCRYPT_COST: '4',
  ...(kS3 ? { USE_MINIO: 'on', S3_BUCKET: kBucket } : {}) };
const kPng = Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), randomBytes(2000)]);
const kMiB = 1024 * 1024;
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

async function guest(server, name) {
  const { body } = await post(server.url, '/api/v1/auth/guest', { name });
  return body.accessToken;
}
let accounts = 0;
async function account(server) {
  const { body } = await post(server.url, '/api/v1/auth/register', { username: `user-${++accounts}-${process.pid}`, password: 'a long password' });
  return body.accessToken;
}
const bearer = (token) => ({ Authorization: `Bearer ${token}` });
const absolute = (server, url) => new URL(url, server.url).href;

async function begin(server, token, bytes, { name = 'a picture.png', mimeType = 'image/png', ...more } = {}) {
  const { status, body, headers } = await post(server.url, '/api/v1/files', { name, size: bytes.length, mimeType, ...more }, token);
  assert.equal(status, 201, JSON.stringify(body));
  assert.equal(headers.get('location'), `/api/v1/files/${body.file.id}`);
  return body;
}
const complete = (server, token, id, data = {}) => post(server.url, `/api/v1/files/${id}/complete`, data, token);
const putThrough = (server, token, id, body, headers = {}) =>
  fetch(`${server.url}/api/v1/files/${id}/content`, { method: 'PUT', body, headers: { ...bearer(token), ...headers } });
async function upload(server, token, bytes, options) {
  const { file } = await begin(server, token, bytes, options);
  const put = await putThrough(server, token, file.id, bytes);
  assert.equal(put.status, 204, await put.text());
  const done = await complete(server, token, file.id);
  assert.equal(done.status, 200, JSON.stringify(done.body));
  return done.body.file;
}
const content = (server, token, id, headers = {}) => fetch(`${server.url}/api/v1/files/${id}/content`, { headers: { ...bearer(token), ...headers } });
const bytesOf = async (response) => Buffer.from(await response.arrayBuffer());

let server;
before(async () => {
  server = await startServer({ cores: 2, env: kEnv });
  await until(async () => (await get(server.url, '/health')).body.components.files === 'ok', 'files are well', 30_000);
});
after(() => server?.stop());

test('by links: a client uploads and reads without a token', async () => {
  const token = await account(server);
  const { file, upload: link } = await begin(server, token, kPng);
  assert.equal(file.name, 'a picture.png');
  assert.equal(file.size, kPng.length);
  assert.equal(file.url, null, 'nothing is there yet');
  assert.equal(link.method, 'PUT');
  assert.ok(Date.parse(link.expiresAt) > Date.now());
  assert.equal((await complete(server, token, file.id)).status, 409, 'nothing came yet');
  const put = await fetch(absolute(server, link.url), { method: link.method, headers: link.headers, body: kPng });
  assert.ok(put.ok, `${put.status} ${await put.text()}`);
  assert.equal((await get(server.url, `/api/v1/files/${file.id}`, token)).body.file.url, null, 'not completed yet');
  const done = await complete(server, token, file.id, { sha256: sha256(kPng) });
  assert.equal(done.status, 200, JSON.stringify(done.body));
  assert.equal((await complete(server, token, file.id)).body.file.id, file.id, 'a second time changes nothing');
  const shown = (await get(server.url, `/api/v1/files/${file.id}`, token)).body.file;
  assert.ok(Date.parse(shown.urlExpiresAt) > Date.now());
  const read = await fetch(absolute(server, shown.url));
  assert.equal(read.status, 200);
  assert.equal(read.headers.get('content-type'), 'image/png');
  assert.match(read.headers.get('content-disposition'), /^inline; filename\*=UTF-8''a%20picture\.png$/);
  assert.deepEqual(await bytesOf(read), kPng);
  // The link to write still holds for a while: what was checked is not what it writes to.
  await fetch(absolute(server, link.url), { method: 'PUT', headers: link.headers, body: randomBytes(kPng.length) });
  assert.deepEqual(await bytesOf(await fetch(absolute(server, shown.url))), kPng);
});

test('through the server: 20 MiB there and back, ranges, ETag, HEAD', { timeout: 120_000 }, async () => {
  const token = await account(server);
  const bytes = randomBytes(20 * kMiB);
  const file = await upload(server, token, bytes, { name: 'large', mimeType: 'application/octet-stream' });
  const whole = await content(server, token, file.id);
  assert.equal(whole.status, 200);
  assert.equal(whole.headers.get('content-length'), String(bytes.length));
  assert.match(whole.headers.get('content-disposition'), /^attachment/);
  assert.match(whole.headers.get('content-security-policy'), /sandbox/);
  assert.equal(sha256(await bytesOf(whole)), sha256(bytes));
  const part = await content(server, token, file.id, { Range: 'bytes=16777210-16777225' });  // across S3's parts
  assert.equal(part.status, 206);
  assert.equal(part.headers.get('content-range'), `bytes 16777210-16777225/${bytes.length}`);
  assert.deepEqual(await bytesOf(part), bytes.subarray(16777210, 16777226));
  assert.deepEqual(await bytesOf(await content(server, token, file.id, { Range: 'bytes=-5' })), bytes.subarray(-5));
  const outside = await content(server, token, file.id, { Range: `bytes=${bytes.length}-` });
  assert.equal(outside.status, 416);
  assert.equal(outside.headers.get('content-range'), `bytes */${bytes.length}`);
  const etag = whole.headers.get('etag');
  assert.equal((await content(server, token, file.id, { 'If-None-Match': etag })).status, 304);
  const changed = await content(server, token, file.id, { Range: 'bytes=0-9', 'If-Range': '"another"' });
  assert.equal(changed.status, 200);
  await changed.body.cancel();
  const head = await fetch(`${server.url}/api/v1/files/${file.id}/content`, { method: 'HEAD', headers: bearer(token) });
  assert.equal(head.status, 200);
  assert.equal(head.headers.get('content-length'), String(bytes.length));
});

test('links that are expired, altered or of another file are refused', { timeout: 60_000 }, async () => {
  const short = await startServer({ env: { ...kEnv, FILE_LINK_AGE: '2s' } });
  try {
    await until(async () => (await get(short.url, '/health')).body.components.files === 'ok', 'files are well', 30_000);
    const token = await account(short);
    const [one, two] = [await upload(short, token, kPng), await upload(short, token, kPng)];
    const url = new URL(absolute(short, (await get(short.url, `/api/v1/files/${one.id}`, token)).body.file.url));
    assert.equal((await fetch(url)).status, 200);
    const refused = async (change, what) => {
      const altered = new URL(url);
      change(altered);
      const answer = await fetch(altered);
      assert.equal(answer.status, 403, what);
      await answer.arrayBuffer();
    };
    const signature = kS3 ? 'X-Amz-Signature' : 'signature', expiry = kS3 ? 'X-Amz-Expires' : 'expires';
    const value = url.searchParams.get(signature);
    await refused((u) => u.searchParams.set(signature, value.replace(/.$/, (c) => (c === '0' ? '1' : '0'))), 'another signature');
    await refused((u) => u.searchParams.set(expiry, String(Number(u.searchParams.get(expiry)) + 3600)), 'a later end');
    await refused((u) => { u.pathname = u.pathname.replace(one.id, two.id); }, 'another file');
    const put = await fetch(url, { method: 'PUT', body: kPng });
    assert.equal(put.status, 403, 'another method');
    await until(async () => (await fetch(url)).status === 403, 'the link has expired', 20_000);
    assert.equal((await content(short, token, one.id)).status, 200, 'who may read it gets it all the same');
  } finally {
    await short.stop();
  }
});

test('only its owner and members of its room read a file', async () => {
  const ann = await Client.connect(server.url, { name: 'ann' }), bob = await Client.connect(server.url, { name: 'bob' });
  const [annToken, bobToken] = [ann.ready.tokens.accessToken, bob.ready.tokens.accessToken];
  const { room } = await ann.command('create_room', { type: 'group', name: `team ${process.pid}`, private: true });
  const own = await upload(server, annToken, kPng);
  const shared = await upload(server, annToken, kPng, { roomId: room.id });
  for (const id of [own.id, shared.id]) {
    assert.equal((await bob.ask('get_file', { fileId: id })).error.code, 'not_found');
    assert.equal((await content(server, bobToken, id)).status, 404);
    assert.equal((await bob.ask('delete_file', { fileId: id })).error.code, 'not_found');
  }
  assert.equal((await get(server.url, `/api/v1/files/${own.id}/content`)).status, 401);
  assert.equal((await bob.ask('create_upload', { name: 'x', size: 1, mimeType: 'text/plain', roomId: room.id })).error.code, 'not_found');
  const waiting = await begin(server, annToken, kPng);
  assert.equal((await putThrough(server, bobToken, waiting.file.id, kPng)).status, 404);
  assert.deepEqual((await ann.command('list_files', {})).files.map((file) => file.id), [shared.id, own.id]);
  assert.deepEqual((await ann.command('list_files', { roomId: room.id })).files.map((file) => file.id), [shared.id]);
  assert.equal((await bob.ask('list_files', { roomId: room.id })).error.code, 'not_found');
  await Promise.all([ann.close(), bob.close()]);
});

test('a message carries its file; deleted, its name stays', async () => {
  const ann = await Client.connect(server.url, { name: 'ann' }), bob = await Client.connect(server.url, { name: 'bob' });
  const token = ann.ready.tokens.accessToken;
  const { room } = await ann.command('join', { room: `files ${process.pid}` });
  await bob.command('join', { room: room.name });
  const file = await upload(server, token, kPng);
  const sent = await ann.command('send_message', { roomId: room.id, fileId: file.id, clientId: 'one' });
  assert.equal(sent.message.type, 'image');
  assert.equal(sent.message.text, null);
  const { message } = await bob.event('message_created', (data) => data.message.file);
  assert.equal(message.file.id, file.id);
  assert.deepEqual(await bytesOf(await fetch(absolute(server, message.file.url))), kPng);
  const again = await ann.command('send_message', { roomId: room.id, fileId: file.id, clientId: 'one' });
  assert.equal(again.duplicate, true);
  assert.equal(again.message.id, sent.message.id);
  assert.equal((await content(server, bob.ready.tokens.accessToken, file.id)).status, 200, 'a member reads it by its id too');
  const other = await ann.command('join', { room: `other files ${process.pid}` });
  assert.equal((await ann.ask('send_message', { roomId: other.room.id, fileId: file.id })).error.code, 'conflict');
  assert.equal((await bob.ask('send_message', { roomId: room.id, fileId: file.id })).error.code, 'not_found', 'it is not his');
  assert.equal((await bob.ask('delete_file', { fileId: file.id })).error.code, 'forbidden');
  await ann.command('delete_file', { fileId: file.id });
  assert.equal((await ann.ask('get_file', { fileId: file.id })).error.code, 'not_found');
  assert.notEqual((await fetch(absolute(server, message.file.url))).status, 200);
  await Promise.all([ann.close(), bob.close()]);
});

test('what a message says of its file is there after a restart', { timeout: 60_000 }, async () => {
  const own = await startServer({ cores: 2, env: kEnv });
  try {
    await until(async () => (await get(own.url, '/health')).body.components.files === 'ok', 'files are well', 30_000);
    const ann = await Client.connect(own.url, { name: 'ann' });
    const token = ann.ready.tokens.accessToken;
    const { room } = await ann.command('join', { room: 'kept' });
    const [kept, gone] = [await upload(own, token, kPng), await upload(own, token, kPng)];
    for (const file of [kept, gone]) await ann.command('send_message', { roomId: room.id, fileId: file.id, text: 'look' });
    await ann.command('delete_file', { fileId: gone.id });
    await own.restart();
    await until(async () => (await get(own.url, '/health')).body.components.files === 'ok', 'files are well', 30_000);
    const { messages } = (await get(own.url, `/api/v1/rooms/${room.id}/messages`, token)).body;
    assert.deepEqual(messages.map((message) => message.file.id), [kept.id, gone.id]);
    assert.deepEqual(await bytesOf(await fetch(absolute(own, messages[0].file.url))), kPng);
    assert.deepEqual([messages[1].file.name, messages[1].file.url], ['a picture.png', null]);
  } finally {
    await own.stop();
  }
});

test('an avatar is seen by everybody, and its size is bounded', async () => {
  const ann = await Client.connect(server.url, { name: 'ann' }), bob = await Client.connect(server.url, { name: 'bob' });
  const token = ann.ready.tokens.accessToken;
  const [first, second] = [await upload(server, token, kPng), await upload(server, token, kPng)];
  const set = (fileId) => fetch(`${server.url}/api/v1/users/me/avatar`, { method: 'PUT', body: JSON.stringify({ fileId }),
    headers: { ...bearer(token), 'Content-Type': 'application/json' } });
  assert.equal((await get(server.url, `/api/v1/files/${first.id}/content`)).status, 401);
  const { user } = await (await set(first.id)).json();
  assert.equal(user.avatarUrl, `/api/v1/files/${first.id}/content`);
  assert.deepEqual(await bytesOf(await fetch(absolute(server, user.avatarUrl))), kPng);
  assert.equal((await bob.command('get_user', { userId: user.id })).user.avatarUrl, user.avatarUrl);
  const { room } = await ann.command('join', { room: `faces ${process.pid}` });
  assert.equal((await ann.command('send_message', { roomId: room.id, text: 'look' })).message.sender.avatarUrl, user.avatarUrl);
  assert.equal((await set(second.id)).status, 200);
  assert.equal((await fetch(absolute(server, user.avatarUrl))).status, 401, 'the one before is gone');
  const large = await upload(server, token, Buffer.concat([kPng, randomBytes(5 * kMiB)]));
  assert.equal((await set(large.id)).status, 413);
  const text = await upload(server, token, Buffer.from('text'), { mimeType: 'text/plain' });
  assert.equal((await set(text.id)).status, 400);
  assert.equal((await bob.ask('set_avatar', { fileId: first.id })).error.code, 'not_found');
  await Promise.all([ann.close(), bob.close()]);
});

test('size and type are checked on what came', async () => {
  const token = await account(server);
  const html = Buffer.from('<html><script>alert(1)</script></html>');
  const wrong = await begin(server, token, html);
  assert.equal((await putThrough(server, token, wrong.file.id, html)).status, 204);
  const { status, body } = await complete(server, token, wrong.file.id);
  assert.deepEqual([status, body.code, Object.keys(body.fields)], [400, 'invalid', ['mimeType']]);
  assert.equal((await content(server, token, wrong.file.id)).status, 404, 'nobody reads it');

  const { file } = await begin(server, token, kPng);
  assert.equal((await putThrough(server, token, file.id, Buffer.concat([kPng, kPng]))).status, 413);
  assert.equal((await putThrough(server, token, file.id, kPng.subarray(1))).status, 400);
  assert.equal((await putThrough(server, token, file.id, kPng)).status, 204);
  const other = await complete(server, token, file.id, { sha256: sha256('something else') });
  assert.deepEqual([other.status, Object.keys(other.body.fields)], [400, ['sha256']]);
  assert.equal((await complete(server, token, file.id, { sha256: sha256(kPng).toUpperCase() })).status, 200);
  assert.equal((await putThrough(server, token, file.id, kPng)).status, 409, 'it is there already');

  for (const [data, expected] of [[{ size: 0 }, 400], [{ size: 101 * kMiB }, 413], [{ name: 'a/b' }, 400], [{ name: '' }, 400], [{ mimeType: 'png' }, 400],
    [{ roomId: 'x' }, 400], [{ roomId: '12345' }, 404]])
    assert.equal((await post(server.url, '/api/v1/files', { name: 'x', size: 1, mimeType: 'image/png', ...data }, token)).status, expected, JSON.stringify(data));
});

test('a client that goes away, or sends too little, leaves nothing', async () => {
  const token = await account(server);
  const { file } = await begin(server, token, kPng);
  const head = `PUT /api/v1/files/${file.id}/content HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\nContent-Length: ${kPng.length}\r\n`;
  const gone = await RawSocket.open(server.port);
  gone.write(`${head}\r\n`);
  gone.write(kPng.subarray(0, 1000));
  await sleep(50);
  gone.reset();
  assert.equal((await complete(server, token, file.id)).status, 409);
  const chunked = await RawSocket.open(server.port);
  chunked.write(`${head.replace(/Content-Length.*\r\n/, 'Transfer-Encoding: chunked\r\n')}\r\n`);
  assert.equal((await readResponse(chunked)).status, 411);
  // What waits for "100 Continue" gets it when the place is ready; what comes behind the body is not taken for a request.
  const polite = await RawSocket.open(server.port);
  polite.write(`${head}Expect: 100-continue\r\n\r\n`);
  await polite.until((bytes) => bytes.includes('100 Continue\r\n\r\n'));
  polite.take(polite.size);
  polite.write(Buffer.concat([kPng, Buffer.from('GET /livez HTTP/1.1\r\nHost: a\r\n\r\n')]));
  assert.equal((await readResponse(polite)).status, 204);
  assert.ok(await polite.end());
  assert.equal(polite.size, 0);
  assert.equal((await complete(server, token, file.id)).status, 200);
  const stranger = await RawSocket.open(server.port);
  stranger.write(`${head.replace(token, 'nonsense')}\r\n`);
  stranger.write(kPng);
  assert.equal((await readResponse(stranger)).status, 401);
  assert.ok(await stranger.end(), 'the body was not read, so the connection ends');
});

test("guests' files and uploads that are not completed go when their time is over", { timeout: 60_000 }, async () => {
  const own = await startServer({ env: { ...kEnv, GUEST_FILE_TTL: kS3 ? '5s' : '3s' } });
  try {
    await until(async () => (await get(own.url, '/health')).body.components.files === 'ok', 'files are well', 30_000);
    const [visitor, member] = [await guest(own, 'visitor'), await account(own)];
    const [passing, kept] = [await upload(own, visitor, kPng), await upload(own, member, kPng)];
    await begin(own, visitor, kPng);
    assert.equal((await content(own, visitor, passing.id)).status, 200);
    const { url } = (await get(own.url, `/api/v1/files/${passing.id}`, visitor)).body.file;
    await until(() => own.sql('SELECT count(*) FROM files') === '1', 'both are forgotten', 30_000);
    assert.equal((await content(own, visitor, passing.id)).status, 404);
    assert.equal((await fetch(absolute(own, url))).status, 404, 'its bytes are gone too');
    assert.equal((await content(own, member, kept.id)).status, 200);
    assert.match((await get(own.url, '/metrics')).text, /^ringline_files_expired_total 2$/m);
  } finally {
    await own.stop();
  }
});

// Memory of the process in MiB; null under a sanitizer, which reserves terabytes and gives nothing back.
function residentMiB(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const of = (name) => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)[1]) / 1024;
  return of('VmSize') > 1024 * 1024 ? null : of('VmRSS');
}

test('50 uploads at once take little memory', { timeout: 120_000 }, async () => {
  const token = await account(server);
  const bytes = randomBytes(20 * kMiB);
  const half = (kS3 ? 2 : 5) * kMiB;
  const taken = async () => Number(/^ringline_file_upload_bytes_total (\d+)$/m.exec((await get(server.url, '/metrics')).text)[1]);
  const [began, before] = [residentMiB(server.pid), await taken()];
  const sockets = await Promise.all(Array.from({ length: 50 }, async () => {
    const { file } = await begin(server, token, bytes, { name: 'large', mimeType: 'application/octet-stream' });
    const socket = await RawSocket.open(server.port);
    socket.write(`PUT /api/v1/files/${file.id}/content HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\nContent-Length: ${bytes.length}\r\n\r\n`);
    socket.write(bytes.subarray(0, half));
    return socket;
  }));
  await until(async () => /^ringline_transfers 50$/m.test((await get(server.url, '/metrics')).text), 'all are under way', 60_000);
  await until(async () => (await taken()) - before === 50 * half, 'half of each is taken', 60_000);
  const now = residentMiB(server.pid);
  if (began !== null) assert.ok(now - began < 64, `${(now - began).toFixed(1)} MiB more`);
  // The core that handed them over answers as before.
  assert.equal((await get(server.url, '/livez')).status, 200);
  for (const socket of sockets) socket.reset();
  await until(async () => /^ringline_transfers 0$/m.test((await get(server.url, '/metrics')).text), 'all are gone', 60_000);
});

// ---- The place away. Behind the gate is the real S3, or nothing: then it only fails.

const behind = kS3 ? { host: new URL(kS3).hostname, port: Number(new URL(kS3).port) } : null;
function gateEnv(gate, more = {}) {
  return { ...kEnv, USE_MINIO: 'on', S3_BUCKET: kBucket, S3_ENDPOINT: gate.url, S3_ACCESS_KEY: process.env.S3_ACCESS_KEY ?? 'key',
    S3_SECRET_KEY: process.env.S3_SECRET_KEY ?? 'secret', S3_TIMEOUT: '500ms', ...more };
}
const files = async (own) => (await get(own.url, '/health')).body;

test('S3 hangs, refuses or answers errors: 503 with a time, and chat is untouched', { timeout: 120_000 }, async () => {
  const gate = await Gate.open(behind);
  if (!behind) gate.set('hang');
  const own = await startServer({ cores: 2, env: gateEnv(gate) });
  try {
    if (behind) await until(async () => (await files(own)).components.files === 'ok', 'files are well', 30_000);
    const ann = await Client.connect(own.url, { name: 'ann' }), bob = await Client.connect(own.url, { name: 'bob' });
    const token = ann.ready.tokens.accessToken;
    const { room } = await ann.command('join', { room: 'a room' });
    await bob.command('join', { room: 'a room' });
    let sent = 0;
    for (const mode of ['hang', 503, 'refuse']) {
      if (behind) {
        gate.set('pass');
        await until(async () => (await files(own)).components.files === 'ok', 'files are well again', 60_000);
      }
      const { file } = await begin(own, token, kPng);
      gate.set(mode);
      const put = await putThrough(own, token, file.id, kPng);
      assert.equal(put.status, 503, String(mode));
      assert.ok(Number(put.headers.get('retry-after')) >= 1, String(mode));
      assert.equal((await put.json()).code, 'unavailable');
      const done = await complete(own, token, file.id);
      assert.equal(done.status, 503, String(mode));
      assert.ok(done.body.retryAfterMs >= 1000);
      await until(async () => {
        await complete(own, token, file.id);
        return (await files(own)).breakers.s3 !== 'closed';
      }, `the breaker opens (${mode})`);
      // Nobody waits for it now.
      assert.equal((await putThrough(own, token, file.id, kPng)).status, 503);
      const text = `during ${mode}`;
      await ann.command('send_message', { roomId: room.id, text });
      await bob.event('message_created', (data) => data.message.text === text);
      ++sent;
    }
    assert.equal(bob.messages(room.id).length, sent);
    const health = await get(own.url, '/health');
    assert.deepEqual([health.status, health.body.components.files, health.body.components.store], [503, 'failing', 'ok']);
    const ready = await get(own.url, '/readyz?verbose');
    assert.deepEqual([ready.status, ready.body.components.files], [200, 'failing']);
    assert.match((await get(own.url, '/metrics')).text, /^ringline_s3_breaker [12]$/m);
    if (!behind) return;
    gate.set('pass');
    await until(async () => (await files(own)).breakers.s3 === 'closed', 'it is back', 60_000);
    assert.equal((await content(own, token, (await upload(own, token, kPng)).id)).status, 200);
  } finally {
    await own.stop();
    await gate.close();
  }
});

test('S3_PUBLIC_URL_BASE: links go to its host, its path is stripped on the way, and the door sends readers there', { skip: kS3 ? false : 'no S3_ENDPOINT' }, async () => {
  // As a reverse proxy does it: /s3/… to S3, with the Host header that the client sent.
  const proxy = createServer((request, response) => {
    assert.ok(request.url.startsWith('/s3/'));
    const onward = httpRequest({ ...behind, method: request.method, path: request.url.slice(3), headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    request.pipe(onward);
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const base = `http://127.0.0.1:${proxy.address().port}/s3`;
  const own = await startServer({ env: { ...kEnv, S3_PUBLIC_URL_BASE: `${base}/${kBucket}` } });
  try {
    await until(async () => (await files(own)).components.files === 'ok', 'files are well', 30_000);
    const token = await account(own);
    const { file, upload: link } = await begin(own, token, kPng);
    assert.ok(link.url.startsWith(`${base}/${kBucket}/`), link.url);
    const longer = await fetch(link.url, { method: 'PUT', headers: link.headers, body: Buffer.concat([kPng, kPng]) });
    assert.equal(longer.status, 403, 'the length is signed');
    const put = await fetch(link.url, { method: 'PUT', headers: link.headers, body: kPng });
    assert.ok(put.ok, `${put.status} ${await put.text()}`);
    assert.equal((await complete(own, token, file.id)).status, 200);
    const sent = await fetch(`${own.url}/api/v1/files/${file.id}/content`, { headers: bearer(token), redirect: 'manual' });
    assert.equal(sent.status, 302);
    assert.ok(sent.headers.get('location').startsWith(`${base}/`));
    const part = await fetch(sent.headers.get('location'), { headers: { Range: 'bytes=8-17' } });
    assert.equal(part.status, 206);
    assert.deepEqual(await bytesOf(part), kPng.subarray(8, 18));
  } finally {
    await own.stop();
    proxy.close();
  }
});
