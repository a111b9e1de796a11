// Several hosts at work on one Redis, one PostgreSQL and one S3, while all of these and the hosts themselves are troubled. Each round draws its troubles from a
// seed (hosts_troubles.mjs), and is checked from the clients' side by the load tool (load.mjs) and from the database afterwards (hosts_people.mjs). A new epoch
// is allowed only in a round where Redis lost something while a host was dead or cut off.
//
// RINGLINE_HOSTS_ROUNDS (3; 21 with RINGLINE_LONG=1), RINGLINE_HOSTS_SEED: repeats one. RINGLINE_HOSTS_RATE: messages a second (1000);
// RINGLINE_HOSTS_SECONDS: how long a trouble lasts (2; 30 with RINGLINE_LONG=1); RINGLINE_HOSTS_TROUBLES: the names of some, between
// semicolons, instead of drawn ones.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Fleet, kFleetMissing, kHasSwift } from './fleet.mjs';
import { Porter } from './hosts_files.mjs';
import { audit, compareHosts, reader, untilStored } from './hosts_people.mjs';
import { draw, kTroubles, mayPart, prepare, reigns } from './hosts_troubles.mjs';
import { kMayLink } from './links.mjs';
import { Load } from './load.mjs';

const kLong = process.env.RINGLINE_LONG === '1';
const kRounds = Number(process.env.RINGLINE_HOSTS_ROUNDS ?? (kLong ? 21 : 3));
const kSeed = Number(process.env.RINGLINE_HOSTS_SEED ?? Math.floor(Math.random() * 1e9));
const kRate = Number(process.env.RINGLINE_HOSTS_RATE ?? 1000);
const kSeconds = Number(process.env.RINGLINE_HOSTS_SECONDS ?? (kLong ? 30 : 2));
const kGiven = process.env.RINGLINE_HOSTS_TROUBLES?.split(';');
const kKinds = ['single', 'sentinel', 'cluster'];  // of Redis, by the seed
const kWindows = 3;       // of trouble, in a round
const kPeople = 8;
const kRooms = 4;         // everybody is in each
const kQuietMs = 1000;    // before the first, for the latencies of quiet times
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

async function trouble(fleet, load, random, say) {
  const windows = kGiven ? kGiven.map((name) => [name]) : draw(fleet, random, kWindows);
  await sleep(kQuietMs);
  load.say('trouble');  // its traces are there until the end
  for (const names of windows) {
    await sleep(kBetweenMs);
    const pairs = names.map((name) => [kTroubles[name], fleet.hosts[Math.floor(random() * fleet.hosts.length)]]);
    say(pairs.map(([, { number }], i) => `${names[i]} (host ${number})`).join(', while '));
    await Promise.all(pairs.map(([one, host]) => one.run(fleet, host, () => sleep(kSeconds * 1000))));
  }
  await sleep(kBetweenMs);
  return windows;
}

async function workThrough(fleet, load, random, chance, say) {
  const token = await reader(fleet, load.rooms);
  await fleet.untilStandbyHasAll();  // rooms and people go with a server that is lost
  const porter = new Porter(fleet, token, chance);
  let over = false;
  const working = fleet.files ? porter.work(() => over) : Promise.resolve();
  working.catch(() => {});  // it is waited for below
  const windows = await trouble(fleet, load, random, say).finally(() => { over = true; });
  await working;
  const rested = await load.rest(kRestMs + kBetweenMs);
  if (rested) await untilStored(fleet, rested, kRestMs);
  const record = await load.finish();
  await compareHosts(fleet, load.rooms, token);
  await porter.check();
  return { windows, porter, record };
}

const kCounts = ['sent', 'acked', 'pending', 'duplicates', 'refused', 'skipped', 'events', 'arrivals', 'resumed', 'reloads'];
const kLatencies = ['answer', 'sameHost', 'otherHost'];
// What the load tool reports, in one line.
function told(found) {
  const of = (latencies) => kLatencies.map((name) => `${name} ${latencies[name].p50Ms.toFixed(1)}/${latencies[name].p99Ms.toFixed(1)}`).join(' ');
  return `${Math.round(found.messagesPerSecond)} of ${kRate} messages a second; ${kCounts.map((name) => `${name} ${found[name]}`).join(', ')}; ` +
    `median/p99 ms in quiet times ${of(found.quiet)}, over all ${of(found.all)}; the last who could not come: ${found.lastTrouble || 'nobody'}`;
}

async function round(fleet, seed, random, say) {
  await prepare(fleet);
  const addresses = fleet.hosts.map(({ server }) => new URL(server.url).host);
  const load = await Load.start({ addresses, people: kPeople, rooms: kRooms, rate: kRate, seed, restMs: kRestMs });
  try {
    fleet.rooms = load.rooms;
    const reign = await reigns(fleet);
    const { windows, porter, record } = await workThrough(fleet, load, random, generator(~seed), say);
    const unasked = (await reigns(fleet)) !== reign && !windows.flat().some((name) => kTroubles[name].loses);
    if (unasked) say('a replica of Redis took over that was not told to');
    const newEpochs = await audit(fleet, record);
    say(`seed ${seed}: ${fleet.hosts.length} hosts, Redis ${fleet.redisKind}${fleet.links.length > 0 ? ', in namespaces' : ''}, ${told(record.found)}; ` +
      `new epochs ${newEpochs}${fleet.files ? `, files ${porter.completed.size} (${porter.refused} times refused)` : ''}`);
    if (!windows.some((names) => mayPart(names, unasked))) assert.equal(newEpochs, 0, 'a new epoch without cause');
  } finally {
    await load.close();
  }
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
