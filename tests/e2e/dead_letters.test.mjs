// The command dead-letters, while the server runs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client } from './client.mjs';
import { startServer, until } from './server.mjs';

// Leaves of a stored message what the store leaves of one that the database refused.
function refuse(server, { data }, reason) {
  const body = JSON.stringify(data).replaceAll("'", "''");
  server.sql(`DELETE FROM messages WHERE room_id = ${data.roomId} AND seq = ${data.seq}`);
  server.sql(`INSERT INTO room_events VALUES (${data.roomId}, ${data.seq}, 1, '${body}')`);
  server.sql(`INSERT INTO dead_letters VALUES (${data.roomId}, ${data.seq}, ${data.id}, 1, ${data.actor.id}, 0, 0, '${body}', '${reason}')`);
}

test('dead-letters: listed, done after all, dropped', async () => {
  const server = await startServer({ env: { RATE_LIMIT_MESSAGES: '0' } });
  try {
    const ann = await Client.connect(server.url, { name: 'ann' });
    const { room } = await ann.command('join', { room: 'a room' });
    for (const text of ['one', 'two', 'three']) await ann.command('send_message', { roomId: room.id, text });
    await until(() => server.sql(`SELECT count(*) FROM messages WHERE room_id = ${room.id}`) === '3', 'all are stored');
    assert.match((await server.command('dead-letters', 'list')).stdout, /no dead letters/);

    const event = ann.events.find((frame) => frame.event === 'message_created' && frame.data.message.text === 'two');
    refuse(server, event, 'it was full');
    const list = (await server.command('dead-letters', 'list')).stdout;
    assert.match(list, new RegExp(`^room ${room.id} seq ${event.data.seq} message_created by ${event.data.actor.id} at .*\\n  refused .*: it was full\\n  \\{`));
    assert.match((await server.command('dead-letters', 'list', '1')).stdout, /no dead letters/);
    const texts = () => server.sql(`SELECT text FROM messages WHERE room_id = ${room.id} ORDER BY seq`);
    assert.equal(texts(), 'one,three');
    assert.match((await server.command('dead-letters', 'retry', room.id, String(event.data.seq))).stdout, /1 tried, 1 done, 0 still refused/);
    assert.equal(texts(), 'one,two,three');
    assert.equal(server.sql('SELECT count(*) FROM dead_letters'), '0');

    await ann.command('send_message', { roomId: room.id, text: 'four' });
    server.sql("INSERT INTO dead_letters VALUES (999, 1, 5, 1, 5, 0, 0, '{}', 'no such room')");
    await assert.rejects(server.command('dead-letters', 'retry'), (error) => error.code === 1 && /refused: no such room/.test(error.stdout));
    await assert.rejects(server.command('dead-letters', 'drop'), (error) => error.code === 1 && /--all/.test(error.stderr));
    assert.match((await server.command('dead-letters', 'drop', '--all')).stdout, /1 dropped/);
    assert.match((await server.command('dead-letters', 'list')).stdout, /no dead letters/);
    assert.match((await server.command('dead-letters', '--help')).stdout, /retry/);
  } finally {
    await server.stop();
  }
});
