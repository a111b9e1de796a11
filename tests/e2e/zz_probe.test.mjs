import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, get, post } from './client.mjs';
import { Fleet } from './fleet.mjs';
import { until } from './server.mjs';
test('probe', async () => {
  const fleet = await Fleet.start({ hosts: 2, cores: 2 });
  const urls = fleet.hosts.map(({ server }) => server.url);
  const password = 'a long password';
  const people = [];
  for (let i = 0; i < 8; ++i) {
    const a = (await post(urls[1], '/api/v1/auth/register', { username: `u${i}x`, password })).body;
    const c = await Client.connect(urls[1], { token: a.accessToken });
    people.push(a); await c.close();
  }
  await sleep(500);
  const time = async (what, f) => { const t = Date.now(); let r; try { r = await f(); r = r?.ready ? 'in' : r?.status; } catch (e) { r = e.message; } console.log(what, Date.now() - t, 'ms', r); };
  const store = async (url) => (await get(url, '/health')).body.components.store;
  if (process.env.FREEZE) fleet.hosts[0].ways.postgres.cut(); else await fleet.postgres('stop');
  const began = Date.now();
  const jobs = [];
  for (let i = 0; i < 8; ++i) {
    console.log('at', Date.now() - began, await store(urls[0]));
    jobs.push(time(`sign-in ${i}`, () => Client.connect(urls[0], { token: people[i].accessToken })));
    await sleep(i < 2 ? 100 : 2500);
  }
  await Promise.all(jobs);
  await time('refresh', () => post(urls[0], '/api/v1/auth/refresh', { refreshToken: people[0].refreshToken }));
  await time('guest', () => Client.connect(urls[0], { name: 'g' }));
  if (process.env.FREEZE) fleet.hosts[0].ways.postgres.heal(); else await fleet.postgres('start');
  await until(async () => (await store(urls[0])) === 'ok', 'back', 60000);
  console.log('back after', Date.now() - began);
  await fleet.stop();
});
