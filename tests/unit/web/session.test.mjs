// The session: who we are over reloads and tabs, and refresh tokens that are used once.

import assert from 'node:assert/strict';
import { beforeEach, mock, test } from 'node:test';
import { Session } from '../../../src/web/js/session.js';
import { Memory, ann } from './support.mjs';

let storage;
let fetch;
let session;
let answers;

beforeEach(() => {
  storage = new Memory();
  answers = [];
  fetch = mock.fn(async () => answers.shift());
  session = new Session(storage, fetch);
});

const pair = (n, expiresIn = 900) => ({ accessToken: `a${n}`, refreshToken: `r${n}`, expiresIn });
const json = (status, body, headers) =>
  new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json', ...headers } });
const sentBody = (call) => JSON.parse(fetch.mock.calls[call].arguments[1].body);

test('a new guest has a name, a known one a token, over a reload too', async () => {
  session.choose('Ann');
  assert.deepEqual(await session.credentials(), { name: 'Ann' });
  session.accept(pair(1), { ...ann, username: 'Ann-2' });
  const reloaded = new Session(storage, fetch);
  assert.ok(reloaded.signedIn);
  assert.equal(reloaded.name, 'Ann-2');
  assert.deepEqual(await reloaded.credentials(), { token: 'a1' });
  assert.equal(fetch.mock.callCount(), 0);
});

test('a token that is about to end is renewed first', async () => {
  session.accept(pair(1, 10), ann);
  answers.push(json(200, { user: ann, ...pair(2) }));
  assert.deepEqual(await session.credentials(), { token: 'a2' });
  assert.equal(fetch.mock.calls[0].arguments[0], '/api/v1/auth/refresh');
  assert.deepEqual(sentBody(0), { refreshToken: 'r1' });
});

test('two refreshes at once are one; another tab that was first is believed', async () => {
  session.accept(pair(1), ann);
  answers.push(json(200, { user: ann, ...pair(2) }));
  await Promise.all([session.refresh(), session.refresh()]);
  assert.equal(fetch.mock.callCount(), 1);

  const tab = new Session(storage, fetch);
  answers.push(json(200, { user: ann, ...pair(3) }), json(200, { user: ann, ...pair(4) }));
  const mine = session.refresh(); // starts from pair 2
  tab.accept(pair(9), ann);
  await mine;
  assert.deepEqual(await session.credentials(), { token: globalThis.navigator?.locks ? 'a9' : 'a3' });
});

test('errors carry code, reason and wait; no network is told apart', async () => {
  session.accept(pair(1), ann);
  answers.push(json(401, { code: 'unauthenticated', reason: 'session_ended' }));
  await assert.rejects(session.refresh(), { code: 'unauthenticated', reason: 'session_ended' });
  answers.push(json(429, { code: 'rate_limited' }, { 'Retry-After': '7' }));
  await assert.rejects(session.refresh(), { code: 'rate_limited', retryAfterMs: 7000 });
  answers.push(new Response('<html>', { status: 502 }));
  await assert.rejects(session.refresh(), { code: 'unavailable' });
  fetch.mock.mockImplementation(async () => { throw new TypeError('network'); });
  await assert.rejects(session.refresh(), { code: 'disconnected' });
  session.forget();
  await assert.rejects(session.refresh(), { code: 'unauthenticated', reason: 'token_missing' });
});

test('signing out tells the server and keeps only the name', async () => {
  session.accept(pair(1), ann);
  answers.push(new Response(null, { status: 204 }));
  await session.signOut();
  assert.equal(fetch.mock.calls[0].arguments[1].headers.Authorization, 'Bearer a1');
  assert.equal(session.signedIn, false);
  assert.equal(session.name, 'Ann');
});

test('without storage it lasts as long as the page', async () => {
  const forgetful = new Session(null, fetch);
  forgetful.accept(pair(1), ann);
  assert.deepEqual(await forgetful.credentials(), { token: 'a1' });
});
