// Several hosts at work on one Redis, one PostgreSQL and one S3, while all of these and the hosts themselves are troubled. Each round draws its troubles from a
// seed (hosts_troubles.mjs), and is checked from the clients' side (hosts_people.mjs) and from the database. A new epoch is allowed only in a round where
// Redis lost something while a host was dead or cut off.
//
// RINGLINE_HOSTS_ROUNDS (3; 21 with RINGLINE_LONG=1), RINGLINE_HOSTS_SEED: repeats one. RINGLINE_HOSTS_RATE: messages a second (1000);
// RINGLINE_HOSTS_SECONDS: how long a trouble lasts (2; 30 with RINGLINE_LONG=1); RINGLINE_HOSTS_TROUBLES: the names of some, between
// semicolons, instead of drawn ones.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Fleet, kFleetMissing, kHasSwift } from './fleet.mjs';
import { Porter } from './hosts_files.mjs';
import { People } from './hosts_people.mjs';
import { kMayLink } from './links.mjs';
import { draw, kTroubles, mayPart, prepare } from './hosts_troubles.mjs';

const kLong = process.env.RINGLINE_LONG === '1';
const kRounds = Number(process.env.RINGLINE_HOSTS_ROUNDS ?? (kLong ? 21 : 3));
const kSeed = Number(process.env.RINGLINE_HOSTS_SEED ?? Math.floor(Math.random() * 1e9));
const kRate = Number(process.env.RINGLINE_HOSTS_RATE ?? 1000);
const kSeconds = Number(process.env.RINGLINE_HOSTS_SECONDS ?? (kLong ? 30 : 2));
const kGiven = process.env.RINGLINE_HOSTS_TROUBLES?.split(';');
const kKinds = ['single', 'sentinel', 'cluster'];  // of Redis, by the seed
const kWindows = 3;       // of trouble, in a round
const kPeople = 8;
const kBetweenMs = 1000;  // two windows
const kRestMs = 120_000;
const kNoise = /postgres_not_reached|database is away/;
const kLogged = 40;       // lines of each host, where a round fails

function generator(seed) {  // mulberry32
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

async function trouble(fleet, random, say) {
  const windows = kGiven ? kGiven.map((name) => [name]) : draw(fleet, random, kWindows);
  for (const names of windows) {
    await sleep(kBetweenMs);
    const pairs = names.map((name) => [kTroubles[name], fleet.hosts[Math.floor(random() * fleet.hosts.length)]]);
    say(pairs.map(([, { number }], i) => `${names[i]} (host ${number})`).join(', while '));
    await Promise.all(pairs.map(([one, host]) => one.run(fleet, host, () => sleep(kSeconds * 1000))));
  }
  await sleep(kBetweenMs);
  return windows;
}

async function round(fleet, seed, random, say) {
  await prepare(fleet);
  const chance = generator(~seed);  // of what comes in no order of its own
  const people = new People({ fleet, count: kPeople, rooms: ['hosts-1', 'hosts-2', 'hosts-3', 'hosts-4'], random: chance });
  await people.start();
  await fleet.untilStandbyHasAll();  // rooms and people go with a server that is lost
  const porter = new Porter(fleet, people.everybody[0].token, chance);
  let over = false;
  const working = Promise.all([people.chat(kRate, () => over), fleet.files ? porter.work(() => over) : undefined]);
  working.catch(() => {});  // it is waited for below
  const windows = await trouble(fleet, random, say).finally(() => { over = true; });
  const [perSecond] = await working;
  await people.rest(kRestMs);
  await people.compareHosts();
  await porter.check();
  await people.stop();
  const newEpochs = await people.audit();
  const { counts } = people;
  say(`seed ${seed}: ${fleet.hosts.length} hosts, Redis ${fleet.redisKind}${fleet.links.length > 0 ? ', in namespaces' : ''}, ${Math.round(perSecond)} messages a second; ${JSON.stringify(counts)}, duplicates 0, ` +
    `gaps 0, new epochs ${newEpochs}${fleet.files ? `, files ${porter.completed.size} (${porter.refused} times refused)` : ''}`);
  if (!windows.some(mayPart)) assert.equal(newEpochs, 0, 'a new epoch without cause');
}

for (let number = 0; number < kRounds; ++number) {
  const seed = kSeed + number;
  const timeout = 300_000 + kWindows * kSeconds * 2000;
  test(`everything acked is there once, in one order (RINGLINE_HOSTS_SEED=${seed})`, { skip: kFleetMissing ? `no ${kFleetMissing}` : false, timeout }, async (t) => {
    const random = generator(seed);
    const redis = kKinds[seed % kKinds.length];
    const hosts = 2 + Math.floor(random() * 2);
    const linked = kMayLink && (redis !== 'single' || random() < 0.5);
    const fleet = await Fleet.start({ hosts, cores: 1 + Math.floor(random() * 2), redis, files: redis === 'single' && kHasSwift, linked });
    try {
      await round(fleet, seed, random, (text) => t.diagnostic(text));
      await fleet.stop();
    } catch (error) {
      for (const { number: host, server } of fleet.hosts) for (const line of server.logs().filter((one) => !kNoise.test(one)).slice(-kLogged)) t.diagnostic(`host ${host}: ${line}`);
      await fleet.abandon();
      throw error;
    }
  });
}
