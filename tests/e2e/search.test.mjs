// Searching what was said, at every door: only in rooms one is in, newest first, page by page. Words are taken in behind the messages, so each test waits.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Client, get } from './client.mjs';
import { startServer, until } from './server.mjs';

let server;
before(async () => {
  server = await startServer({ cores: 2, env: { RATE_LIMIT_GUESTS: '0', RATE_LIMIT_MESSAGES: '0', BCRYPT_COST: '4' } });
});
after(() => server?.stop());

const texts = ({ messages }) => messages.map((message) => message.text);
const found = async (client, data) => texts(await client.command('search_messages', data));
const rest = (path, client) => get(server.url, `/api/v1/search/messages${path}`, client.ready.tokens.accessToken);

test('what was said is found, by those who are in the room', async () => {
  const ann = await Client.connect(server.url, { name: 'ann' }), bob = await Client.connect(server.url, { name: 'bob' });
  const { room } = await ann.command('join', { room: 'kitchen' });
  const { room: other } = await bob.command('join', { room: 'cellar' });
  const say = async (client, roomId, text) => (await client.command('send_message', { roomId, text })).message;
  await say(ann, room.id, 'The kettle, the KETTLE!');
  await say(bob, other.id, 'a kettle of fish');
  const last = await say(ann, room.id, 'kettle and Äpfel and 水');
  await until(async () => (await found(ann, { query: 'kettle' })).length === 2, 'both are found');
  assert.deepEqual(await found(ann, { query: 'Kettle' }), ['kettle and Äpfel and 水', 'The kettle, the KETTLE!']);
  assert.deepEqual(await found(ann, { query: 'äpfel kettle' }), ['kettle and Äpfel and 水']);
  assert.deepEqual(await found(ann, { query: '水' }), ['kettle and Äpfel and 水']);
  assert.deepEqual(await found(ann, { query: 'kettl' }), []);
  assert.deepEqual(await found(ann, { query: 'kettle', fromUserId: bob.ready.user.id }), []);
  await assert.rejects(ann.command('search_messages', { query: 'kettle', roomId: other.id }), /join the room first/);
  await until(async () => (await found(bob, { query: 'kettle' })).length === 1, "bob's is found");
  assert.deepEqual(await found(bob, { query: 'kettle' }), ['a kettle of fish']);

  await bob.command('join', { room: 'kitchen' });
  await until(async () => (await found(bob, { query: 'kettle' })).length === 3, 'he finds what was said before');
  assert.deepEqual(await found(bob, { query: 'kettle', roomId: room.id, fromUserId: ann.ready.user.id }), ['kettle and Äpfel and 水', 'The kettle, the KETTLE!']);
  const { messages: [first] } = await bob.command('search_messages', { query: 'kettle', roomId: room.id });
  assert.deepEqual(first, last);
  await bob.command('leave_room', { roomId: room.id });
  await until(async () => (await found(bob, { query: 'kettle' })).length === 1, 'he finds his own only');
});

test('by REST, page by page', async () => {
  const ann = await Client.connect(server.url, { name: 'ann' });
  const { room } = await ann.command('join', { room: 'pages' });
  for (let i = 0; i < 25; ++i) await ann.command('send_message', { roomId: room.id, text: `leaf ${i}` });
  await until(async () => (await found(ann, { query: 'leaf' })).length === 25, 'all are found');
  const all = [];
  for (let cursor = ''; cursor !== undefined;) {
    const page = (await rest(`?q=leaf&limit=10&roomId=${room.id}${cursor && `&cursor=${cursor}`}`, ann)).body;
    all.push(...texts(page));
    cursor = page.nextCursor;
  }
  assert.deepEqual(all, Array.from({ length: 25 }, (_, i) => `leaf ${24 - i}`));
});

test('what cannot be asked is said', async () => {
  const ann = await Client.connect(server.url, { name: 'ann' });
  for (const [query, field] of [['?q=', 'query'], ['?q=%21%3F', 'query'], ['?q=a&roomId=x', 'roomId'], ['?q=a&cursor=x', 'cursor'], ['?q=a+b+c+d+e+f+g+h+i', 'query']]) {
    const { status, body } = await rest(query, ann);
    assert.equal(status, 400, query);
    assert.ok(body.fields[field], JSON.stringify(body));
  }
  assert.equal((await rest('?q=a&roomId=999', ann)).status, 404);
  assert.match((await get(server.url, '/metrics')).text, /ringline_text_lag_messages \d/);
});
