// ACK_REPLICAS=1: a message is acked when a replica of Redis has it. So it may lose the host with its disk, and the master of Redis, both at once.
import assert from 'node:assert/strict';
import { mkdirSync, rmSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Fleet, kFleetMissing } from './fleet.mjs';
import { People } from './hosts_people.mjs';
import { mainNow, prepare, untilSentinelsAreWell } from './hosts_troubles.mjs';
import { until } from './server.mjs';

const kRate = 60;
const kOnTheirWayMs = 1000;  // answers to what the replica still got
const kFrozenMs = 500;
const kSettleMs = 30_000;
const kRestMs = 60_000;
const acked = ({ counts }) => counts.acked - counts.pending;  // with a seq

async function destroy(fleet, people) {
  const [{ server }] = fleet.hosts;
  const main = await mainNow(fleet), replica = main === 'main-1' ? 'main-2' : 'main-1';

  await fleet.redis('freeze', replica);
  await until(() => people.counts.pending > 0, 'messages are pending');
  await sleep(kOnTheirWayMs);
  const had = acked(people);
  await sleep(kFrozenMs);
  assert.equal(acked(people), had, 'nothing but pending messages is acked');
  await fleet.redis('thaw', replica);
  await untilSentinelsAreWell(fleet);
  await until(() => acked(people) > had + kRate, 'messages are acked again', kSettleMs);

  await Promise.all([server.kill(), fleet.redis('kill', main)]);
  for (const [clientId, { pending }] of people.acked) if (pending) people.acked.delete(clientId);  // some of them were at that host alone
  rmSync(server.dataDir, { recursive: true });
  mkdirSync(server.dataDir);
  await until(async () => (await mainNow(fleet)) === replica, 'the replica is the master', kSettleMs);
  await fleet.redis('start', main);
  await untilSentinelsAreWell(fleet);
  await server.start();
}

test('the disk of a host is destroyed, and the master of Redis killed: all that was acked is there', { skip: kFleetMissing ? `no ${kFleetMissing}` : false, timeout: 180_000 }, async () => {
  const fleet = await Fleet.start({ hosts: 2, redis: 'sentinel', env: { ACK_REPLICAS: '1' } });
  try {
    await prepare(fleet);
    const people = new People({ fleet, count: 6, rooms: ['disk-1', 'disk-2'], random: Math.random });
    await people.start();
    let over = false;
    const chatting = people.chat(kRate, () => over);
    chatting.catch(() => {});  // it is waited for below
    await until(() => acked(people) > kRate, 'messages are acked', kSettleMs);
    await destroy(fleet, people).finally(() => { over = true; });
    await chatting;
    await people.rest(kRestMs);
    await people.compareHosts();
    await people.stop();
    await people.audit();
    await fleet.stop();
  } catch (error) {
    await fleet.abandon();
    throw error;
  }
});
