// Every invalid input that the contract names gets its error, and costs nobody else anything: a bystander chats throughout.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, before, test } from 'node:test';
import { Client, get, post } from './client.mjs';
import { startServer } from './server.mjs';

const kSecret = 'a-secret-for-tests-long-enough-to-be-taken';
let server;
let url;
let bystander;
let roomId;
let heard = 0;

before(async () => {
  server = await startServer({ cores: 2, env: { JWT_SECRET: kSecret, RATE_LIMIT_GUESTS: '0', RATE_LIMIT_MESSAGES: '40' } });
  url = server.url;
  bystander = await Client.connect(url, { name: 'bystander' });
  roomId = (await bystander.command('join', { room: 'lobby' })).room.id;
});

after(async () => {
  // the bystander lost nothing and is not closed
  assert.equal(bystander.gap, undefined);
  await bystander.command('send_message', { roomId, text: 'still here' });
  await server.stop();
});

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const base64url = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
function jwt(claims, { secret = kSecret, alg = 'HS256' } = {}) {
  const head = `${base64url({ alg, typ: 'JWT' })}.${base64url(claims)}`;
  return `${head}.${createHmac(alg === 'HS512' ? 'sha512' : 'sha256', secret).update(head).digest('base64url')}`;
}

let guests = 0;
const guest = () => Client.connect(url, { name: `guest ${guests++} of invalid` });

async function refusedConnect(data) {
  const client = new Client(url);
  await client.open();
  const answer = await client.ask('connect', data);
  assert.equal(answer.ok, false);
  return { client, error: answer.error };
}

test('unknown command', async () => {
  const client = await guest();
  const { error } = await client.ask('fly_away', {});
  assert.equal(error.code, 'invalid');
  assert.ok(error.fields.cmd);
});

test('missing field, wrong type, bad values', async () => {
  const client = await guest();
  await client.command('join', { room: 'lobby' });
  const cases = [
    ['send_message', { roomId }, 'text'],
    ['send_message', { roomId, text: 7 }, 'text'],
    ['send_message', { roomId, text: ' \n ' }, 'text'],
    ['send_message', { text: 'x' }, 'roomId'],
    ['send_message', { roomId: 7, text: 'x' }, 'roomId'],
    ['send_message', { roomId: '007', text: 'x' }, 'roomId'],
    ['send_message', { roomId, text: 'x', clientId: 'ö' }, 'clientId'],
    ['send_message', { roomId, text: 'x', clientId: 'c'.repeat(65) }, 'clientId'],
    ['send_message', { roomId, text: 'x', type: 'poem' }, 'type'],
    ['send_message', { roomId, text: 'x', mentions: 'all' }, 'mentions'],
    ['send_message', { roomId, text: 'x', replyTo: 'no id' }, 'replyTo'],
    ['send_message', { roomId, text: 'x', extra: [[[[[[[[[]]]]]]]]] }, 'extra'],
    ['get_history', { roomId, limit: 101 }, 'limit'],
    ['get_history', { roomId, before: 1, after: 1 }, 'before'],
    ['create_room', { type: 'castle' }, 'type'],
    ['create_room', { type: 'group' }, 'name'],
    ['create_room', { type: 'group', name: '12345' }, 'name'],
    ['create_room', { type: 'group', name: 'a\nb' }, 'name'],
    ['create_room', { type: 'group', name: 'n'.repeat(65) }, 'name'],
    ['create_room', { type: 'direct' }, 'memberIds'],
    ['join', {}, 'room'],
  ];
  for (const [cmd, data, field] of cases) {
    const { ok, error } = await client.ask(cmd, data);
    assert.equal(ok, false, `${cmd} ${JSON.stringify(data)}`);
    assert.equal(error.code, 'invalid', `${cmd} ${JSON.stringify(data)}: ${JSON.stringify(error)}`);
    assert.ok(error.fields[field], `${cmd} ${JSON.stringify(data)}: ${JSON.stringify(error)}`);
  }
});

test('too large: text, extra, frame', async () => {
  const client = await guest();
  await client.command('join', { room: 'lobby' });
  assert.equal((await client.ask('send_message', { roomId, text: 'x'.repeat(4001) })).error.code, 'too_large');
  assert.equal((await client.ask('send_message', { roomId, text: '😀'.repeat(4000) })).ok, true);
  assert.equal((await client.ask('send_message', { roomId, text: 'x', extra: { a: 'x'.repeat(1024) } })).error.code, 'too_large');
  client.socket.send(JSON.stringify({ id: 1, cmd: 'ping', data: { pad: 'x'.repeat(70000) } }));
  assert.equal((await client.closed).code, 1009);
});

test('not a member; no such room', async () => {
  const client = await guest();
  assert.equal((await client.ask('send_message', { roomId, text: 'x' })).error.code, 'forbidden');
  assert.equal((await client.ask('send_message', { roomId: '999999999999', text: 'x' })).error.code, 'not_found');
});

test('before connect every command is unauthenticated', async () => {
  const client = new Client(url);
  await client.open();
  const { error } = await client.ask('ping', {});
  assert.equal(error.code, 'unauthenticated');
  assert.equal((await client.ask('connect', { name: 'late but welcome' })).ok, true);
});

test('tokens: rubbish, another secret, alg none, HS512, expired, of nobody', async () => {
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub: bystander.ready.user.id, sid: bystander.ready.sessionId, role: 'user', iat: now, exp: now + 900 };
  const none = `${base64url({ alg: 'none' })}.${base64url(claims)}.`;
  for (const token of ['rubbish', jwt(claims, { secret: 'another-secret-long-enough-to-be-one' }), none, jwt(claims, { alg: 'HS512' })]) {
    const { error, client } = await refusedConnect({ token });
    assert.deepEqual([error.code, error.reason], ['unauthenticated', 'token_invalid']);
    client.close();
  }
  const expired = await refusedConnect({ token: jwt({ ...claims, iat: now - 1000, exp: now - 100 }) });
  assert.deepEqual([expired.error.code, expired.error.reason], ['unauthenticated', 'token_expired']);
  const nobody = await refusedConnect({ token: jwt({ ...claims, sub: '12345678' }) });
  assert.equal(nobody.error.reason, 'token_invalid');
  const good = await Client.connect(url, { token: jwt(claims) });
  assert.equal(good.ready.user.id, bystander.ready.user.id);
});

test('a token that ends closes with 4001, and is announced', async () => {
  const now = Math.floor(Date.now() / 1000);
  const claims = { sub: bystander.ready.user.id, sid: bystander.ready.sessionId, role: 'user', iat: now, exp: now + 3 };
  const client = await Client.connect(url, { token: jwt(claims) });
  assert.ok((await client.event('token_expiring')).expiresAt);
  assert.equal((await client.closed).code, 4001);
  const other = await Client.connect(url, { token: jwt({ ...claims, exp: Math.floor(Date.now() / 1000) + 2 }) });
  await other.command('refresh_token', { token: jwt({ ...claims, exp: now + 900 }) });
  await sleep(3000);
  assert.equal((await other.command('ping', {})).serverTime.endsWith('Z'), true);
});

test('a bad Authorization header on the upgrade is 401', async () => {
  const client = new Client(url, { headers: { Authorization: 'Bearer rubbish' } });
  await assert.rejects(client.open(), /401/);
  const good = new Client(url, { headers: { Authorization: `Bearer ${bystander.ready.tokens.accessToken}` } });
  await good.open();
  await good.event('ready');
});

test('wrong password', async () => {
  const { body } = await post(url, '/api/v1/auth/login', { username: 'bystander', password: 'anything' });
  assert.deepEqual([body.code, body.reason], ['unauthenticated', 'wrong_password']);
});

test('rate limit: so many messages in 10 s a user, over all his connections', async () => {
  const one = await guest();
  const two = await Client.connect(url, { token: one.ready.tokens.accessToken });
  await one.command('join', { room: 'lobby' });
  const answers = [];
  for (let i = 0; i < 42; ++i) answers.push(await (i % 2 ? one : two).ask('send_message', { roomId, text: `n${i}` }));
  assert.equal(answers.filter((answer) => answer.ok).length, 40);
  for (const { error } of answers.filter((answer) => !answer.ok)) {
    assert.equal(error.code, 'rate_limited');
    assert.ok(error.retryAfterMs > 0 && error.retryAfterMs <= 10000);
  }
});

test('frames that are not JSON, deep JSON, arrays: answered with id null, the connection stays', async () => {
  const client = await guest();
  for (const text of ['rubbish', '{"id":1', '['.repeat(60000), '{"a":'.repeat(5000), '[]', '7', '""']) {
    client.stray = undefined;
    client.socket.send(text);
    while (!client.stray) await sleep(5);
    assert.equal(client.stray.ok, false);
    assert.equal(client.stray.id, null);
    assert.equal(client.stray.error.code, 'invalid');
  }
  assert.equal((await client.ask('ping', {})).ok, true);
});

test('invalid UTF-8 closes with 1007, a binary frame with 1003, an unmasked or reserved one with 1002', async () => {
  const bad = await guest();
  bad.socket.send(Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), { binary: false });
  assert.equal((await bad.closed).code, 1007);
  const binary = await guest();
  binary.socket.send(Buffer.from('{}'), { binary: true });
  assert.equal((await binary.closed).code, 1003);
  const unmasked = await guest();
  unmasked.socket._socket.write(Buffer.from([0x81, 0x02, 0x7b, 0x7d]));
  assert.equal((await unmasked.closed).code, 1002);
  const reserved = await guest();
  reserved.socket._socket.write(Buffer.from([0xa1, 0x82, 0, 0, 0, 0, 0x7b, 0x7d]));
  assert.equal((await reserved.closed).code, 1002);
});

test('no connect within the time closes with 4000', { timeout: 20000 }, async () => {
  const client = new Client(url);
  await client.open();
  assert.equal((await client.closed).code, 4000);
});

test('HTTP rubbish gets its status', async () => {
  const { connect } = await import('node:net');
  const { hostname, port } = new URL(url);
  const ask = (text) => new Promise((resolve) => {
    const socket = connect(Number(port), hostname, () => socket.write(text));
    let answer = '';
    socket.on('data', (bytes) => (answer += bytes));
    socket.on('close', () => resolve(answer.split(' ')[1]));
    socket.on('error', () => resolve('reset'));
  });
  assert.equal(await ask('rubbish\r\n\r\n'), '400');
  assert.equal(await ask(`GET /${'a'.repeat(9000)} HTTP/1.1\r\nHost: x\r\n\r\n`), '414');
  assert.equal(await ask(`GET / HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(17000)}\r\n\r\n`), '431');
  assert.equal(await ask('POST /api/v1/rooms HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n'), '413');
  assert.equal(await ask('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n'), '400');
  assert.equal((await get(url, '/health')).status, 200);
});
