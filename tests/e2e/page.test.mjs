// The page in a real browser against the real server, whose address stands in RINGLINE_URL.
// Connections are cut between browser and server by the browser's own hook, so no server is harmed
// and other tests may use it at the same time: every text carries this run's own mark.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { Client } from './client.mjs';

const kUrl = process.env.RINGLINE_URL?.replace(/\/$/, '');
const kShots = process.env.RINGLINE_SHOTS;
const kWaitMs = 60_000; // the machine may be busy
const kMark = Math.random().toString(36).slice(2, 8);

let browser;
const contexts = [];
const guests = [];

before(async () => {
  assert.ok(kUrl, 'RINGLINE_URL is not set');
  if (kShots) await mkdir(kShots, { recursive: true });
  browser = await chromium.launch({
    executablePath: process.env.RINGLINE_CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
});

afterEach(async () => {
  for (const guest of guests.splice(0)) guest.close();
  await Promise.all(contexts.splice(0).map((context) => context.close()));
});

after(() => browser?.close());

/** A window of its own person. What the page throws or its policy refuses fails the test. */
async function open(name, { clock = false, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 760 }, ...options });
  contexts.push(context);
  context.setDefaultTimeout(kWaitMs);
  const page = await context.newPage();
  page.on('pageerror', (error) => assert.fail(`page: ${error.message}`));
  page.on('console', (message) => {
    assert.ok(!message.text().includes('Content Security Policy'), message.text());
  });
  if (clock) await page.clock.install();
  const line = await gate(page);
  await page.goto(kUrl);
  await page.getByLabel('Your name').fill(name);
  await page.getByRole('button', { name: 'Enter the lobby' }).click();
  await entered(page);
  return { page, line, context };
}

async function entered(page) {
  await state(page, 'CONNECTED');
  await page.locator('#composer-text:enabled').waitFor();
}

const state = (page, name) => page.locator(`#status[data-state="${name}"]`).waitFor();

/** Stands between the page's socket and the server. */
async function gate(page) {
  let closed = false;
  let drops = () => false;
  const live = new Set();
  await page.routeWebSocket(/\/ws$/, (socket) => {
    if (closed) {
      socket.close({ code: 4002 });
      return;
    }
    const server = socket.connectToServer();
    server.onMessage((text) => {
      if (!drops(text)) socket.send(text);
    });
    live.add({ socket, server });
  });
  return {
    cut() {
      closed = true;
      for (const { socket, server } of live) {
        server.close();
        socket.close({ code: 4002 });
      }
      live.clear();
    },
    restore() {
      closed = false;
    },
    /** From now on, server frames for which `which` is true never arrive. */
    drop(which) {
      drops = which;
    },
  };
}

async function say(page, text) {
  await page.getByLabel('Message', { exact: true }).fill(text);
  await page.getByRole('button', { name: 'Send', exact: true }).click();
}

const row = (page, text) => page.locator('.message', { has: page.getByText(text, { exact: true }) });
const sees = (page, text) => row(page, text).waitFor();
const sent = (page, text) => page.locator('.message[data-state="SENT"]', {
  has: page.getByText(text, { exact: true }),
}).waitFor();

/** This run's messages of one test on the page, top to bottom. */
async function texts(page, topic) {
  const all = await page.locator('.message .text').allTextContents();
  return all.filter((text) => text.startsWith(`${kMark} ${topic}`));
}

/** Ten messages from each, as often as it takes until the lobby is longer than one page of history. */
async function fillPage(roomId) {
  for (let number = 0; number < 60; number++) {
    for (const guest of guests) {
      await guest.command('send_message', { roomId, text: line('old', number) });
    }
    if (number % 10 !== 9) continue;
    if ((await guests[0].command('get_history', { roomId, limit: 50 })).hasBefore) return;
    await new Promise((resolve) => setTimeout(resolve, 10_500)); // the rate limit's window
  }
  assert.fail('the lobby does not grow');
}

const line = (topic, number) => `${kMark} ${topic} ${number}`;

async function shot(page, name) {
  if (kShots) await page.screenshot({ path: join(kShots, `${name}.png`) });
}

test('two windows chat: both see both messages, in one order, each once; markup is inert', async () => {
  const ann = await open('Ann');
  const bob = await open('Bob', { colorScheme: 'dark' });
  const evil = `${kMark} talk <script>alert(1)</script><img src=x onerror=alert(2)>`;
  let dialogs = 0;
  for (const { page } of [ann, bob]) page.on('dialog', (box) => { dialogs++; return box.dismiss(); });

  for (let number = 0; number < 3; number++) {
    await say(ann.page, line('talk', `from Ann ${number}`));
    await sees(bob.page, line('talk', `from Ann ${number}`));
    await say(bob.page, line('talk', `from Bob ${number}`));
    await sees(ann.page, line('talk', `from Bob ${number}`));
  }
  await say(ann.page, evil);
  await sees(bob.page, evil);
  await sent(ann.page, evil);

  const expected = [0, 1, 2].flatMap((n) => [line('talk', `from Ann ${n}`), line('talk', `from Bob ${n}`)]);
  for (const { page } of [ann, bob]) {
    assert.deepEqual(await texts(page, 'talk'), [...expected, evil]);
    assert.equal(await page.locator('#messages script, #messages img').count(), 0);
  }
  assert.equal(dialogs, 0);
  await shot(ann.page, 'desktop-light');
  await shot(bob.page, 'desktop-dark');
});

test('a reload is the same guest, with the history', async () => {
  const { page } = await open('Cleo');
  const name = await page.locator('#me-name').textContent();
  for (let number = 0; number < 3; number++) await say(page, line('history', number));
  await sent(page, line('history', 2));

  await page.reload();
  await entered(page);
  await sees(page, line('history', 2));
  assert.equal(await page.locator('#me-name').textContent(), name);
  assert.deepEqual(await texts(page, 'history'), [0, 1, 2].map((number) => line('history', number)));
  assert.equal(await row(page, line('history', 0)).getAttribute('data-state'), 'SENT');
});

test('a token that has run out is renewed; worthless ones lead back to choosing a name', async () => {
  const { page } = await open('Rae');
  const name = await page.locator('#me-name').textContent();
  const spoil = (change) => page.evaluate((values) => {
    const key = 'ringline.session';
    const session = JSON.parse(localStorage.getItem(key));
    localStorage.setItem(key, JSON.stringify({ ...session, ...values }));
  }, change);

  await spoil({ expiresAt: 0 });
  await page.reload();
  await entered(page);
  assert.equal(await page.locator('#me-name').textContent(), name);

  await spoil({ accessToken: 'worthless', refreshToken: 'worthless' });
  await page.reload();
  await page.getByText('Choose a name to come back').waitFor();
  assert.equal(await page.getByLabel('Your name').inputValue(), name);
});

test('typing is shown and goes, by sending and by itself', async () => {
  const dora = await open('Dora');
  const emil = await open('Emil');
  const name = await emil.page.locator('#me-name').textContent();
  const shown = dora.page.getByText(`${name} is typing…`, { exact: true });
  const box = emil.page.getByLabel('Message', { exact: true });

  await box.pressSequentially(`${kMark} typing`);
  await shown.waitFor();
  await box.press('Enter');
  await shown.waitFor({ state: 'hidden' });
  await sees(dora.page, `${kMark} typing`);

  await box.pressSequentially('again');
  await shown.waitFor();
  await shown.waitFor({ state: 'hidden' }); // five seconds later, with nothing sent
});

test('members come, go offline and back', async () => {
  const fay = await open('Fay');
  const gus = await open('Gus');
  const name = await gus.page.locator('#me-name').textContent();
  const entry = (presence) => fay.page.locator(`.member[data-presence="${presence}"]`, {
    has: fay.page.getByText(name, { exact: true }),
  });
  await entry('online').waitFor();
  gus.line.cut();
  await entry('offline').waitFor();
  gus.line.restore();
  await entry('online').waitFor();
});

test('connection lost: shown, messages wait, and are sent once in order; missed ones come', async () => {
  const hal = await open('Hal');
  const ida = await open('Ida');
  await say(hal.page, line('offline', 0));
  await sees(ida.page, line('offline', 0));

  hal.line.cut();
  await state(hal.page, 'RECONNECTING');
  await hal.page.getByText('The connection was lost.').waitFor();
  await say(ida.page, line('offline', 1));
  await sent(ida.page, line('offline', 1));
  for (const number of [2, 3, 4]) await say(hal.page, line('offline', number));
  assert.equal(await row(hal.page, line('offline', 4)).getAttribute('data-state'), 'SENDING');
  await shot(hal.page, 'connection-lost');

  hal.line.restore();
  await state(hal.page, 'CONNECTED');
  for (const number of [2, 3, 4]) await sent(hal.page, line('offline', number));
  await sees(ida.page, line('offline', 4));
  const expected = [0, 1, 2, 3, 4].map((number) => line('offline', number));
  assert.deepEqual(await texts(hal.page, 'offline'), expected);
  assert.deepEqual(await texts(ida.page, 'offline'), expected);
  await hal.page.locator('#banner').waitFor({ state: 'hidden' });
});

test('an ack and an event that are lost with the line do not make a second message', async () => {
  const { page, line: cable } = await open('Jan');
  cable.drop((text) => text.includes(line('doubt', 0)));
  await say(page, line('doubt', 0));
  await sees(page, line('doubt', 0));
  await page.waitForTimeout(1000); // the server has it by now; neither answer nor event arrive
  assert.equal(await row(page, line('doubt', 0)).getAttribute('data-state'), 'SENDING');
  cable.cut();
  await state(page, 'RECONNECTING');
  cable.drop(() => false);
  cable.restore();
  await sent(page, line('doubt', 0));
  assert.deepEqual(await texts(page, 'doubt'), [line('doubt', 0)]);
  await page.reload();
  await entered(page);
  assert.deepEqual(await texts(page, 'doubt'), [line('doubt', 0)]);
});

test('ten attempts, then it gives up and waits for a person', async () => {
  const { page, line: cable } = await open('Kim', { clock: true });
  cable.cut();
  await state(page, 'RECONNECTING');
  const failed = page.locator('#status[data-state="FAILED"]');
  for (let round = 0; round < 30 && !(await failed.count()); round++) {
    await page.clock.fastForward(31_000);
    await page.waitForTimeout(200);
  }
  await failed.waitFor();
  await say(page, line('failed', 0));
  await shot(page, 'failed');

  cable.restore();
  await page.waitForTimeout(500);
  assert.equal(await failed.count(), 1, 'it does not come back by itself');
  await page.getByRole('button', { name: 'Try again' }).click();
  await state(page, 'CONNECTED');
  await sent(page, line('failed', 0));
});

test('on a phone: nothing to scroll sideways, members open and close', async () => {
  const { page } = await open('Lea', {
    viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true,
  });
  const long = `${kMark} phone ${'unbreakable'.repeat(20)}`;
  await say(page, long);
  await sent(page, long);
  const sideways = () => page.evaluate(() => {
    const timeline = document.getElementById('timeline');
    const root = document.documentElement;
    return Math.max(root.scrollWidth - innerWidth, timeline.scrollWidth - timeline.clientWidth);
  });
  assert.equal(await sideways(), 0);
  await shot(page, 'phone');

  const toggle = page.locator('#members-toggle');
  const panel = page.getByRole('complementary', { name: 'Members' });
  assert.equal(await panel.count(), 0);
  await toggle.click();
  await panel.waitFor();
  assert.equal(await sideways(), 0);
  await shot(page, 'phone-members');
  await page.keyboard.press('Escape');
  await panel.waitFor({ state: 'hidden' });
  assert.equal(await toggle.evaluate((button) => button === document.activeElement), true);
});

test('by keyboard alone; a sent-too-fast message waits and goes by itself', async () => {
  const { page } = await open('Mia');
  const name = await page.locator('#me-name').textContent();
  for (let number = 0; number < 12; number++) {
    await page.keyboard.type(line('fast', number));
    await page.keyboard.press('Enter');
  }
  await sent(page, line('fast', 11));
  const expected = Array.from({ length: 12 }, (_, number) => line('fast', number));
  assert.deepEqual(await texts(page, 'fast'), expected);

  await page.getByRole('button', { name: 'Leave' }).press('Enter');
  await page.getByRole('dialog').getByRole('button', { name: 'Leave' }).press('Enter');
  await page.getByLabel('Your name').waitFor();
  assert.equal(await page.getByLabel('Your name').inputValue(), name);
  await page.reload();
  await page.getByLabel('Your name').waitFor();
});

test('scrolling up brings older messages and keeps the place; none is missing or twice', async () => {
  for (const name of ['Ned', 'Oda', 'Pia']) guests.push(await Client.connect(kUrl, { name }));
  const joined = await Promise.all(guests.map((guest) => guest.command('join', { room: 'lobby' })));
  const roomId = joined[0].room.id;
  await fillPage(roomId);
  const { page } = await open('Quin');
  await say(page, line('old', 'end'));
  await sent(page, line('old', 'end'));
  const { messages } = await guests[0].command('get_history', { roomId, limit: 100 });

  const held = page.locator('.message .text');
  const timeline = page.locator('#timeline');
  const top = page.locator('#timeline-top');
  while ((await held.count()) < messages.length) {
    const before = await held.count();
    assert.equal(await top.getAttribute('data-state'), 'more');
    const first = await held.first().elementHandle();
    await timeline.evaluate((scroller) => { scroller.scrollTop = 0; });
    await page.waitForFunction((n) => document.querySelectorAll('.message').length > n, before);
    const place = await first.boundingBox();
    assert.ok(place.y > 0 && place.y < 760, `the message in sight is now at ${place.y}`);
  }
  const shown = (await held.allTextContents()).slice(-messages.length);
  assert.deepEqual(shown, messages.map(({ text }) => text));

  await page.getByRole('button', { name: 'Latest messages' }).click();
  await page.waitForFunction(() => {
    const scroller = document.getElementById('timeline');
    return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 2;
  });
});
