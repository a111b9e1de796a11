// What people at several hosts were told (load.mjs), held against what the hosts say afterwards, and against the database.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { Client } from './client.mjs';
import { until } from './server.mjs';

const kReadyMs = 20_000;
const kAgainMs = 200;

// Somebody who is in the rooms and says nothing: his token.
export async function reader(fleet, roomIds) {
  const client = await Client.connect(fleet.hosts[0].server.url, { name: 'reader' });
  for (const room of roomIds) await client.command('join', { room });
  await client.close();
  return client.ready.tokens.accessToken;
}

export async function untilStored(fleet, { acked }, ms) {
  let count;
  await until(async () => {
    [[count]] = await fleet.sql('SELECT count(client_id) FROM messages');
    const stored = Number(count) < acked.length ? null : new Set((await fleet.sql('SELECT client_id FROM messages')).flat());
    if (stored && acked.every(({ clientId }) => stored.has(clientId))) return true;
    await sleep(kAgainMs);
    return false;
  }, () => `${count} messages are stored, of ${acked.length} acked ones not all`, ms);
}

// Each host says the same of the last messages, soon: where nobody listened to the room it is read first.
export async function compareHosts(fleet, roomIds, token) {
  for (const roomId of roomIds) {
    let ends;
    await until(async () => {
      const pages = await Promise.all(fleet.hosts.map(({ server }) => lastPage(server, roomId, token)));
      ends = pages.map((page) => page?.at(-1));
      return pages.every((page) => page && isDeepStrictEqual(page, pages[0]));
    }, () => `hosts say the same of room ${roomId}, which ends with ${ends.join(' and ')}`, kReadyMs);
  }
}
async function lastPage(server, roomId, token) {
  try {
    const client = await Client.connect(server.url, { token });
    const { messages } = await client.command('get_history', { roomId, limit: 100 });
    await client.close();
    return messages.map(({ seq, id, text }) => `${seq} ${id} ${text}`);
  } catch (error) {
    if (error.code !== 'unavailable') throw error;
    await sleep(kAgainMs);
    return null;
  }
}

// Every event that is stored: by its room's id and seq the id of a message, or null. By clientId and by id where messages are.
async function stored(fleet) {
  const messages = await fleet.sql('SELECT room_id, seq, id, client_id FROM messages');
  const others = await fleet.sql('SELECT room_id, seq FROM room_events');
  const kept = new Map();
  const places = new Map();
  const ids = new Set();
  const put = (roomId, seq, id) => {
    assert.ok(!places.has(`${roomId}/${seq}`), `two events at seq ${seq} of room ${roomId}`);
    places.set(`${roomId}/${seq}`, id);
  };
  for (const [roomId, seq, id, clientId] of messages) {
    if (clientId) assert.ok(!kept.has(clientId), `${clientId} is there twice`);
    kept.set(clientId, { roomId, id });
    put(roomId, seq, id);
    ids.add(`${roomId}/${id}`);
  }
  for (const [roomId, seq] of others) put(roomId, seq, null);
  return { kept, places, ids };
}

// From the database: what was acked is there once, each room without a hole, and in the order that was seen. How many rooms have begun a new epoch.
export async function audit(fleet, { acked, seen }) {
  assert.deepEqual(await fleet.sql('SELECT room_id, seq, reason FROM dead_letters LIMIT 3'), []);
  const epochs = new Map((await fleet.sql('SELECT id, epoch FROM rooms')).map(([id, epoch]) => [id, Number(epoch)]));
  const { kept, places, ids } = await stored(fleet);
  for (const { clientId, roomId, id, certain } of acked) {
    assert.equal(kept.get(clientId)?.roomId, roomId, `${clientId} was acked, and is lost`);
    if (certain) assert.equal(kept.get(clientId).id, id, `${clientId} was acked with another id`);
  }
  const counts = new Map();
  for (const [roomId] of [...places.keys()].map((place) => place.split('/'))) counts.set(roomId, (counts.get(roomId) ?? 0) + 1);
  for (const [roomId, last] of await fleet.sql('SELECT id, ingested_seq FROM rooms WHERE ingested_seq > 0'))
    assert.equal(counts.get(roomId), Number(last), `events of room ${roomId}, up to seq ${last}`);
  for (const { roomId, epoch, seq, id } of seen) {
    const there = places.get(`${roomId}/${seq}`);
    const fits = there === null || there === id;
    const what = `epoch ${epoch}, seq ${seq} of room ${roomId} was seen as ${id}, and`;
    if (epoch === epochs.get(roomId)) assert.ok(fits, `${what} is ${there}`);
    else assert.ok(fits || ids.has(`${roomId}/${id}`), `${what} is lost`);
  }
  return [...epochs.values()].filter((epoch) => epoch > 1).length;
}
