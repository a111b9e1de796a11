// What may happen to a fleet of hosts and to what is behind them, by name. Each trouble lasts a while and ends with everything up again.
//
//   of      what it troubles: of two at the same time each is of something else
//   needs   whether the fleet has what it takes
//   loses   Redis may come back without something that it had
//   parts   a host is dead, or cut off from Redis: it may know what nobody else does
//   once    in the life of a fleet: nothing else of the same kind may come after it
//
// run(fleet, host, pause): `host` is drawn; `pause()` waits for as long as troubles last.
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from './server.mjs';

const kSettleMs = 60_000;
const kLagMs = 1000;  // how much a standby misses
const kNodes = ['cluster-1', 'cluster-2', 'cluster-3', 'cluster-4'];
const kPair = ['cluster-1', 'cluster-4'];    // a master and its replica, in turn
const kSingles = ['cluster-2', 'cluster-3'];

const isSingle = (fleet) => fleet.redisKind === 'single';
const isSentinel = (fleet) => fleet.redisKind === 'sentinel';
const isCluster = (fleet) => fleet.redisKind === 'cluster';
const hasFiles = (fleet) => fleet.files;
const hasWays = (fleet) => fleet.hosts.every(({ ways }) => ways.redis);

async function cutOff(way, pause) {
  way.cut();
  await pause();
  way.heal();
}
async function troubleFiles(fleet, mode, pause) {
  for (const { gates } of fleet.hosts) gates.files.set(mode);
  await pause();
  for (const { gates } of fleet.hosts) gates.files.set('pass');
}

// ---- PostgreSQL

const kStop = { postgres: 'stop', standby: 'stop-standby' };
const kStart = { postgres: 'start', standby: 'start-standby' };

// `lagMs`: how much the standby misses, at least. What is committed from `since` on may go with the old server.
async function failOver(fleet, pause, lagMs = 0) {
  const since = Date.now();
  fleet.failedOver = { since, until: Infinity };
  await fleet.untilStandbyHasAll();
  if (lagMs > 0) await fleet.postgres('cut');
  await sleep(lagMs);
  await fleet.postgres('stop');
  await pause();
  await fleet.postgres('promote');
  fleet.primary = 'standby';
  fleet.failedOver = { since, until: Date.now() };
}

// ---- Redis

async function killRedis(fleet, pause, forgets) {
  await fleet.redis('kill', 'single');
  await pause();
  if (forgets) rmSync(`${await fleet.redis('folder')}/single/appendonlydir`, { recursive: true });
  await fleet.redis('start', 'single');
}

export const mainNow = async (fleet, sentinel = 'sentinel-1') => {
  const place = await fleet.redis('cli', sentinel, 'SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'main');
  return place.endsWith(await fleet.redis('port', 'main-1')) ? 'main-1' : 'main-2';
};
// All sentinels name one master, and see that the other follows it: else one of them may undo what comes next.
async function sentinelsAreWell(fleet) {
  const main = await mainNow(fleet);
  for (const sentinel of ['sentinel-1', 'sentinel-2', 'sentinel-3']) {
    if ((await mainNow(fleet, sentinel)) !== main) return false;
    const replica = await fleet.redis('cli', sentinel, 'SENTINEL', 'REPLICAS', 'main');
    if (!/role-reported\nslave/.test(replica) || !/master-link-status\nok/.test(replica)) return false;
  }
  return true;
}
export const untilSentinelsAreWell = (fleet) => until(() => sentinelsAreWell(fleet), 'the sentinels are well', kSettleMs);

// What changes where a replica takes over, of itself too: a server that gets no processor for a while counts as gone.
export async function reigns(fleet) {
  if (isSingle(fleet)) return '';
  const master = isSentinel(fleet) ? await mainNow(fleet) : await masterOfPair(fleet);
  return /^master_replid:(\w+)/m.exec(await fleet.redis('cli', master, 'INFO', 'replication'))[1];
}

async function clusterIsWell(fleet) {
  for (const node of kNodes) {
    const info = await fleet.redis('cli', node, 'CLUSTER', 'INFO').catch(() => '');
    if (!/cluster_state:ok/.test(info) || !/cluster_slots_fail:0/.test(info) || !/cluster_slots_pfail:0/.test(info)) return false;
  }
  return true;
}
const untilClusterIsWell = (fleet) => until(() => clusterIsWell(fleet), 'the cluster is well', kSettleMs);

const isMaster = async (fleet, node) => /^role:master/m.test(await fleet.redis('cli', node, 'INFO', 'replication'));
async function masterOfPair(fleet) { return (await isMaster(fleet, kPair[0])) ? kPair[0] : kPair[1]; }
async function pairIsWell(fleet) {
  const roles = await Promise.all(kPair.map((node) => fleet.redis('cli', node, 'INFO', 'replication').catch(() => '')));
  return roles.some((role) => /^role:master/m.test(role)) && roles.some((role) => /^master_link_status:up/m.test(role)) && clusterIsWell(fleet);
}

// With all that is in it, from the server that has it to another, while it is written to and read.
async function moveSlot(fleet, slot) {
  const cli = (node, ...words) => fleet.redis('cli', node, ...words);
  const own = {};
  for (const node of kNodes) own[node] = await cli(node, 'CLUSTER', 'MYID');
  const lines = (await cli(kNodes[0], 'CLUSTER', 'NODES')).split('\n').map((line) => line.split(' '));
  const [owner] = lines.find((words) => words.slice(8).some((range) => {  // of slots: 5, or 7-9
    const [first, last = first] = range.split('-').map(Number);
    return first <= slot && slot <= last;
  }));
  const from = kNodes.find((node) => own[node] === owner);
  const masters = [await masterOfPair(fleet), ...kSingles];
  const to = masters[(masters.indexOf(from) + 1) % masters.length];
  const set = async (node, ...words) => assert.equal(await cli(node, 'CLUSTER', 'SETSLOT', String(slot), ...words), 'OK');
  await set(to, 'IMPORTING', own[from]);
  await set(from, 'MIGRATING', own[to]);
  const port = await fleet.redis('port', to);
  for (;;) {
    const keys = (await cli(from, 'CLUSTER', 'GETKEYSINSLOT', String(slot), '100')).split('\n').filter(Boolean);
    if (keys.length === 0) break;
    const moved = await cli(from, 'MIGRATE', '127.0.0.1', port, '', '0', '5000', 'AUTH', 'secret', 'KEYS', ...keys);
    assert.match(moved, /^(OK|NOKEY)$/);
  }
  for (const node of [to, from, ...masters.filter((one) => one !== to && one !== from)]) await set(node, 'NODE', own[to]);
}

export const kTroubles = {
  'a host is killed': {
    of: 'host', parts: true,
    async run(fleet, { server }, pause) {
      await server.kill();
      await pause();
      await server.start();
    },
  },
  'a host is stopped': {
    of: 'host', parts: true,
    async run(fleet, { server }, pause) {
      await server.stop();
      await pause();
      await server.start();
    },
  },
  'a host is frozen': {
    of: 'host', parts: true,
    async run(fleet, { server }, pause) {
      process.kill(server.pid, 'SIGSTOP');
      await pause();
      process.kill(server.pid, 'SIGCONT');
    },
  },
  'a host is cut off from Redis': { of: 'a way to Redis', needs: hasWays, parts: true, run: (fleet, { ways }, pause) => cutOff(ways.redis, pause) },
  'a host is cut off from PostgreSQL': { of: 'a way to PostgreSQL', run: (fleet, { ways }, pause) => cutOff(ways.postgres, pause) },
  'a host is cut off from S3': { of: 'S3', needs: hasFiles, run: (fleet, { ways }, pause) => cutOff(ways.files, pause) },
  'S3 answers errors': { of: 'S3', needs: hasFiles, run: (fleet, host, pause) => troubleFiles(fleet, 503, pause) },
  'S3 hangs': { of: 'S3', needs: hasFiles, run: (fleet, host, pause) => troubleFiles(fleet, 'hang', pause) },
  'PostgreSQL is killed': {
    of: 'PostgreSQL',
    async run(fleet, host, pause) {
      await fleet.postgres(kStop[fleet.primary]);
      await pause();
      await fleet.postgres(kStart[fleet.primary]);
    },
  },
  'PostgreSQL fails over': { of: 'PostgreSQL', once: 'failover', run: (fleet, host, pause) => failOver(fleet, pause) },
  'PostgreSQL fails over to a standby that lacks the last commits': {
    of: 'PostgreSQL', once: 'failover',
    run: (fleet, host, pause) => failOver(fleet, pause, kLagMs),
  },
  'Redis is frozen': {
    of: 'Redis', needs: isSingle,
    async run(fleet, host, pause) {
      await fleet.redis('freeze', 'single');
      await pause();
      await fleet.redis('thaw', 'single');
    },
  },
  'Redis is killed, and comes back with what it had': { of: 'Redis', needs: isSingle, run: (fleet, host, pause) => killRedis(fleet, pause, false) },
  'Redis is killed, and comes back empty': { of: 'Redis', needs: isSingle, loses: true, run: (fleet, host, pause) => killRedis(fleet, pause, true) },
  'the master of Redis is killed, and its replica takes over': {
    of: 'Redis', needs: isSentinel, loses: true,
    async run(fleet, host, pause) {
      const main = await mainNow(fleet);
      await fleet.redis('kill', main);
      await pause();
      await until(async () => (await mainNow(fleet)) !== main, 'another is the master', kSettleMs);
      await fleet.redis('start', main);
      await untilSentinelsAreWell(fleet);
    },
  },
  'the sentinels are told to fail over': {
    of: 'Redis', needs: isSentinel, loses: true,
    async run(fleet, host, pause) {
      const main = await mainNow(fleet);
      await until(async () => (await fleet.redis('cli', 'sentinel-1', 'SENTINEL', 'FAILOVER', 'main')) === 'OK', 'they begin', kSettleMs);
      await until(async () => (await mainNow(fleet)) !== main, 'another is the master', kSettleMs);
      await pause();
      await untilSentinelsAreWell(fleet);
    },
  },
  'slots of a cluster are moved': {
    of: 'Redis', needs: isCluster,
    async run(fleet, host, pause) {
      for (const id of fleet.rooms) await moveSlot(fleet, Number(await fleet.redis('cli', kNodes[0], 'CLUSTER', 'KEYSLOT', `{${id}}`)));
      await pause();
      await untilClusterIsWell(fleet);
    },
  },
  'a server of a cluster is killed, and comes back empty': {
    of: 'Redis', needs: isCluster, loses: true,
    async run(fleet, host, pause) {
      const node = kSingles[host.number % kSingles.length];
      await fleet.redis('kill', node);
      await pause();
      await fleet.redis('start', node);
      await untilClusterIsWell(fleet);
    },
  },
  'a server of a cluster is killed, and its replica takes over': {
    of: 'Redis', needs: isCluster, loses: true,
    async run(fleet, host, pause) {
      const node = await masterOfPair(fleet);
      const other = kPair.find((one) => one !== node);
      await fleet.redis('kill', node);
      await pause();
      await until(() => isMaster(fleet, other), 'its replica takes over', kSettleMs);
      await fleet.redis('start', node);
      await until(() => pairIsWell(fleet), 'the replica follows', kSettleMs);
    },
  },
  'a server of a cluster is frozen': {
    of: 'Redis', needs: isCluster,
    async run(fleet, host, pause) {
      const node = kSingles[host.number % kSingles.length];
      await fleet.redis('freeze', node);
      await pause();
      await fleet.redis('thaw', node);
      await untilClusterIsWell(fleet);
    },
  },
};

// What some troubles need of the fleet before they come.
export async function prepare(fleet) {
  if (isSingle(fleet)) {
    for (const words of [['CONFIG', 'SET', 'appendonly', 'yes'], ['CONFIG', 'REWRITE']]) assert.equal(await fleet.redis('cli', 'single', ...words), 'OK');
    await until(async () => /aof_rewrite_in_progress:0\s/.test(await fleet.redis('cli', 'single', 'INFO', 'persistence')), 'Redis keeps what it has', kSettleMs);
  }
  if (isSentinel(fleet)) await untilSentinelsAreWell(fleet);
  if (isCluster(fleet)) await untilClusterIsWell(fleet);
  await fleet.untilStandbyHasAll();
}

// So many windows, each with one trouble or two at a time; none comes twice, as long as there are others.
export function draw(fleet, random, windows) {
  const pick = (list) => list[Math.floor(random() * list.length)];
  const all = Object.keys(kTroubles).filter((name) => kTroubles[name].needs?.(fleet) ?? true);
  let left = [...all];
  const gone = new Set();  // of those that come once
  const take = (besides) => {
    const fits = (name) => !gone.has(kTroubles[name].once) && kTroubles[name].of !== besides?.of;
    if (!left.some(fits)) left = [...all];
    const name = pick(left.filter(fits));
    left = left.filter((one) => one !== name);
    if (kTroubles[name].once) gone.add(kTroubles[name].once);
    return name;
  };
  return Array.from({ length: windows }, () => {
    const first = take();
    return random() < 0.5 ? [first] : [first, take(kTroubles[first])];
  });
}

// Whether histories may part: Redis lost something while a host was away that knew it.
// `unasked`: a replica took over that was not told to, whenever that was.
export const mayPart = (names, unasked) => (unasked || names.some((name) => kTroubles[name].loses)) && names.some((name) => kTroubles[name].parts);
