// A delivery allocates nothing: the server's own count of allocations, while messages go to a room of few and to a room of many. What a message costs is in
// both; what is left is of the deliveries.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client } from './client.mjs';
import { startServer } from './server.mjs';

const kFew = 10;
const kMany = 110;
const kWarmUp = 100;  // messages until buffers have grown
const kMessages = 300;
const kPerDelivery = 0.05;  // ticks and statistics allocate too; one a delivery would be 1

async function metric(server, name) {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  return Number(new RegExp(`^ringline_${name} (\\S+)$`, 'm').exec(text)[1]);
}

test('a delivery allocates nothing', async (context) => {
  const server = await startServer({ env: { RATE_LIMIT_GUESTS: '0', RATE_LIMIT_MESSAGES: '0' } });
  context.after(() => server.stop());
  if (await metric(server, 'allocations_total') === 0) return context.skip('a sanitizer has its own allocator, which is not counted');

  const sendTo = async (members) => {
    const room = `room of ${members}`;
    const clients = [];
    let roomId;
    for (let i = 0; i < members; ++i) {
      const client = await Client.connect(server.url, { name: `${room}: ${i}` });
      roomId = (await client.command('join', { room })).room.id;
      clients.push(client);
    }
    const [sender] = clients;
    const send = async (count) => {  // and delivered to all: a busy room's events wait for each other
      let last;
      for (let i = 0; i < count; ++i) last = (await sender.command('send_message', { roomId, text: 'x'.repeat(200) })).message.id;
      for (const client of clients) await client.event('message_created', (body) => body.message.id === last);
    };
    await send(kWarmUp);
    const before = [await metric(server, 'allocations_total'), await metric(server, 'deliveries_total')];
    await send(kMessages);
    const after = [await metric(server, 'allocations_total'), await metric(server, 'deliveries_total')];
    for (const client of clients) await client.close();
    return { allocations: after[0] - before[0], deliveries: after[1] - before[1] };
  };

  const few = await sendTo(kFew);
  const many = await sendTo(kMany);
  const deliveries = many.deliveries - few.deliveries;
  const each = (many.allocations - few.allocations) / deliveries;
  context.diagnostic(`${(few.allocations / kMessages).toFixed(1)} allocations a message to ${kFew}, ${(many.allocations / kMessages).toFixed(1)} to ${kMany}`);
  assert.ok(deliveries > (kMany - kFew) * kMessages * 0.9, `${deliveries} more deliveries`);
  assert.ok(each < kPerDelivery, `${each.toFixed(2)} allocations a delivery`);
});
