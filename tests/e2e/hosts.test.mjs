// Several hosts at work on one Redis and one PostgreSQL, while all of them are troubled in turn. Each round draws its troubles from a seed.
//
// RINGLINE_HOSTS_ROUNDS (3), RINGLINE_HOSTS_SEED: repeats one; RINGLINE_HOSTS_RATE (1000 messages a second), RINGLINE_HOSTS_SECONDS (of a trouble).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Fleet, kServices, redis } from './fleet.mjs';
import { People } from './hosts_people.mjs';

const kRounds = Number(process.env.RINGLINE_HOSTS_ROUNDS ?? 3);
const kSeed = Number(process.env.RINGLINE_HOSTS_SEED ?? Math.floor(Math.random() * 1e9));
const kRate = Number(process.env.RINGLINE_HOSTS_RATE ?? 1000);
const kSeconds = Number(process.env.RINGLINE_HOSTS_SECONDS ?? 2);
const kRestMs = 90_000;

function generator(seed) {  // mulberry32
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

// What may happen: each ends with everything up again. `loses`: Redis may have lost what it had; `away`: a host could not put back what it knew.
const kTroubles = {
  async 'a host is killed'(fleet, host) {
    await host.server.kill();
    await sleep(kSeconds * 1000);
    await host.server.start();
  },
  async 'a host is stopped'(fleet, host) {
    await host.server.stop();
    await host.server.start();
  },
  async 'a host is cut off from Redis'(fleet, host) {
    host.gate.set('silent');
    await sleep(kSeconds * 1000);
    host.gate.set('pass');
  },
  async 'Redis is frozen'() {
    await redis('freeze', 'single');
    await sleep(kSeconds * 1000);
    await redis('thaw', 'single');
  },
  async 'Redis is killed, and comes back empty'() {
    await redis('kill', 'single');
    await sleep(kSeconds * 1000);
    await redis('start', 'single');
  },
  async 'a host is killed, and Redis comes back empty'(fleet, host) {
    await host.server.kill();
    await redis('kill', 'single');
    await redis('start', 'single');
    await sleep(kSeconds * 1000);
    await host.server.start();
  },
};
const kPartings = ['a host is killed, and Redis comes back empty'];

for (let round = 0; round < kRounds; ++round) {
  const seed = kSeed + round;
  test(`everything acked is there once, in one order (seed ${seed})`, { skip: !kServices && 'no services', timeout: 600_000 }, async (t) => {
    const random = generator(seed);
    const fleet = await Fleet.start({ hosts: 2 + Math.floor(random() * 2) });
    const people = new People({ fleet, count: 12, rooms: ['hosts-1', 'hosts-2', 'hosts-3', 'hosts-4'], random });
    await people.start();
    let over = false;
    const chatting = people.chat(kRate, () => over);
    const names = Object.keys(kTroubles).sort(() => random() - 0.5).slice(0, 3);
    for (const name of names) {
      await sleep(1000);
      t.diagnostic(name);
      await kTroubles[name](fleet, fleet.hosts[Math.floor(random() * fleet.hosts.length)]);
    }
    await sleep(1000);
    over = true;
    const { sent, seconds } = await chatting;
    await people.rest(kRestMs);
    people.check();
    await people.stop();
    await fleet.stop();
    const epochs = people.audit();
    const renewed = [...epochs].filter(([, epoch]) => epoch > 1).length;
    if (!names.some((name) => kPartings.includes(name))) assert.equal(renewed, 0, 'a new epoch without cause');
    t.diagnostic(JSON.stringify({ hosts: fleet.hosts.length, sent, perSecond: Math.round(sent / seconds), ...people.counts, newEpochs: renewed }));
  });
}
