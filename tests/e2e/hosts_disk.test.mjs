// ACK_REPLICAS=1: a message is acked when a replica of Redis has it. So it may lose the host with its disk, and the master of Redis, both at once.
import assert from 'node:assert/strict';
import { mkdirSync, rmSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Fleet, kFleetMissing } from './fleet.mjs';
import { audit, compareHosts, reader, untilStored } from './hosts_people.mjs';
import { mainNow, prepare, untilSentinelsAreWell } from './hosts_troubles.mjs';
import { Load } from './load.mjs';
import { until } from './server.mjs';

const kRate = 60;
const kOnTheirWayMs = 1000;  // answers to what the replica still got
const kFrozenMs = 500;
const kSettleMs = 30_000;
const kRestMs = 60_000;

// With a seq.
async function acked(load) {
  const counts = await load.counts();
  return counts.acked - counts.pending;
}

async function destroy(fleet, load) {
  const [{ server }] = fleet.hosts;
  const main = await mainNow(fleet), replica = main === 'main-1' ? 'main-2' : 'main-1';

  await fleet.redis('freeze', replica);
  await until(async () => (await load.counts()).pending > 0, 'messages are pending');
  await sleep(kOnTheirWayMs);
  const had = await acked(load);
  await sleep(kFrozenMs);
  assert.equal(await acked(load), had, 'nothing but pending messages is acked');
  await fleet.redis('thaw', replica);
  await untilSentinelsAreWell(fleet);
  await until(async () => (await acked(load)) > had + kRate, 'messages are acked again', kSettleMs);

  await Promise.all([server.kill(), fleet.redis('kill', main)]);
  load.say('forget');  // some of what was acked as pending was at that host alone
  rmSync(server.dataDir, { recursive: true });
  mkdirSync(server.dataDir);
  await until(async () => (await mainNow(fleet)) === replica, 'the replica is the master', kSettleMs);
  await fleet.redis('start', main);
  await untilSentinelsAreWell(fleet);
  await server.start();
}

test('the disk of a host is destroyed, and the master of Redis killed: all that was acked is there', { skip: kFleetMissing ? `no ${kFleetMissing}` : false, timeout: 180_000 }, async () => {
  const fleet = await Fleet.start({ hosts: 2, redis: 'sentinel', env: { ACK_REPLICAS: '1' } });
  let load;
  try {
    await prepare(fleet);
    const addresses = fleet.hosts.map(({ server }) => new URL(server.url).host);
    load = await Load.start({ addresses, people: 6, rooms: 2, rate: kRate, seed: 1, restMs: kRestMs });
    const token = await reader(fleet, load.rooms);
    await until(async () => (await acked(load)) > kRate, 'messages are acked', kSettleMs);
    await destroy(fleet, load);
    const rested = await load.rest(kRestMs);
    if (rested) await untilStored(fleet, rested, kRestMs);
    const record = await load.finish();
    await compareHosts(fleet, load.rooms, token);
    await audit(fleet, record);
    await fleet.stop();
  } catch (error) {
    await fleet.abandon();
    throw error;
  } finally {
    await load?.close();
  }
});
