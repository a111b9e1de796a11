// People who chat while others misbehave, in a process of their own: what they measure must not wait for the one who makes the trouble.
// startBystanders(url) starts it; there, `slice()` begins a measurement and `end()` gives {p50, p99, deliveries, lost, closed, gap}: how long each message took
// from its sender to each other, what did not arrive though the sender had its ack, who was closed, and the first hole in a room's seqs. `series()` begins a
// series of slices; its p99 over all of them so far is `seriesP99`.
import { fork } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { io } from 'socket.io-client';
import { Client } from './client.mjs';

const kPlain = 6;
const kStock = 2;
const kEveryMs = 100;     // each of them sends so often
const kArriveMs = 5000;   // what is later than this is lost

export async function startBystanders(url) {
  const child = fork(fileURLToPath(import.meta.url), [url]);
  const gone = new Promise((_, reject) => child.once('exit', (code) => reject(new Error(`the bystanders ended with ${code}`))));
  gone.catch(() => {});  // it is told to whoever asks
  const answer = () => Promise.race([new Promise((resolve) => child.once('message', resolve)), gone]);
  await answer();
  const ask = (what) => (child.send(what), answer());
  return { series: () => ask('series'), slice: () => ask('slice'), end: () => ask('end'), stop: () => child.kill() };
}

// One who sends and hears: over /ws, or by the stock client.
async function plain(url, room) {
  const client = await Client.connect(url, { name: 'bystander' });
  const { room: { id: roomId } } = await client.command('join', { room });
  const one = { closed: null, gap: () => client.gap, heard: () => {} };
  client.closed.then(({ code }) => { one.closed = code; });
  const take = client.take.bind(client);
  client.take = (frame) => {
    if (frame.event === 'message_created') one.heard(frame.data.message.text);
    take(frame);
    if (client.events.length > 1000) client.events = [];
  };
  one.send = (text) => client.command('send_message', { roomId, text });
  return one;
}

async function stock(url, room) {
  const socket = io(url, { auth: { name: 'bystander' }, reconnection: false });
  await new Promise((resolve, reject) => { socket.once('ready', resolve); socket.once('connect_error', reject); });
  const one = { closed: null, gap: () => undefined, heard: () => {} };
  socket.on('disconnect', (reason) => { one.closed = reason; });
  socket.on('message_created', ({ message }) => one.heard(message.text));
  const { data } = await socket.emitWithAck('join', { room });
  one.send = async (text) => {
    const answer = await socket.emitWithAck('send_message', { roomId: data.room.id, text });
    if (!answer.ok) throw new Error(JSON.stringify(answer.error));
  };
  return one;
}

async function main(url) {
  const people = [];
  for (let i = 0; i < kPlain; ++i) people.push(await plain(url, 'bystanders'));
  for (let i = 0; i < kStock; ++i) people.push(await stock(url, 'bystanders'));
  let sent = new Map();  // text -> {at, left: who has it to hear}
  let times = [];
  let series = [];
  let refused = 0;
  people.forEach((one) => {
    one.heard = (text) => {
      const found = sent.get(text);
      if (!found) return;
      times.push(performance.now() - found.at);
      if (--found.left === 0) sent.delete(text);
    };
  });
  let number = 0;
  people.forEach((one, i) => {
    setTimeout(() => setInterval(() => {
      if (one.closed !== null) return;
      const text = `${i}:${number++}`;
      sent.set(text, { at: performance.now(), left: people.length });
      one.send(text).catch(() => { refused += 1; sent.delete(text); });
    }, kEveryMs), (i * kEveryMs) / people.length);
  });
  const answer = async () => {
    const until = performance.now();
    const late = () => [...sent.values()].filter(({ at }) => at <= until).length;
    while (late() > 0 && performance.now() - until < kArriveMs) await sleep(20);
    const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
    const ascending = (a, b) => a - b;
    const slice = [...times].sort(ascending);
    series = series.concat(slice).sort(ascending);
    return { p50: at(slice, 0.5), p99: at(slice, 0.99), seriesP99: at(series, 0.99), deliveries: slice.length, lost: late(), refused, closed: people.filter(({ closed }) => closed !== null).map(({ closed }) => closed),
      gap: people.map(({ gap }) => gap()).find((one) => one !== undefined) };
  };
  process.on('message', async (what) => {
    if (what === 'end') return process.send(await answer());
    if (what === 'series') series = [];
    times = [];
    process.send('ok');
  });
  process.on('disconnect', () => process.exit());
  process.send('ready');
}

if (process.send && process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv[2]);
