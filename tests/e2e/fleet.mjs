// Several hosts of one service, as tests need them: behind them a PostgreSQL with a standby, a Redis of some kind and perhaps an S3, all their own; and between
// each host and each of these a way that can be cut: a gate, or (`linked`) a link of a host that is in a network namespace of its own. Before sentinels and
// clusters, which name their servers themselves, there is no gate.
import { existsSync } from 'node:fs';
import { Gate } from './gate.mjs';
import { kServicesAddress, LinkedHost, SharedAddress } from './links.mjs';
import { prepareServer, until } from './server.mjs';
import { control, query, startServices } from './services.mjs';

delete process.env.RINGLINE_TEST_POSTGRES;  // each fleet has its own
export const kFleetMissing = ['/usr/bin/redis-server', '/usr/lib/postgresql'].filter((path) => !existsSync(path)).join(' and ');
export const kHasSwift = existsSync('/usr/bin/swift-proxy-server');
const kEnv = { JWT_SECRET: 'a secret that all hosts of the test have and nobody else', RATE_LIMIT_MESSAGES: '0', RATE_LIMIT_GUESTS: '0',
  RATE_LIMIT_API_READS: '0', RATE_LIMIT_API_WRITES: '0', BCRYPT_COST: '4' };

const kLinks = ['clients', 'redis', 'postgres', 'files'];

// Where PostgreSQL is: {path} of its socket.
const postgresAt = (url) => ({ path: `${new URL(url).searchParams.get('host')}/.s.PGSQL.5432` });
const hostAndPort = (url) => ({ host: url.hostname, port: Number(url.port) });

function gatedWay(...gates) {
  const set = (mode) => { for (const gate of gates) gate.set(mode); };
  return { cut: () => set('silent'), heal: () => set('pass') };
}
const linkedWay = (link, name) => ({ cut: () => link.unplug(name), heal: () => link.plug(name) });

export class Fleet {
  // {hosts: how many, cores: of each, redis: 'single', 'sentinel' or 'cluster', files: whether there is an S3, linked, env}
  static async start(options) {
    const { redis = 'single', files = false, linked = false } = options;
    const names = ['postgres', 'standby', redis === 'single' ? 'redis' : `redis-${redis}`, ...(files ? ['swift'] : [])];
    const address = linked ? new SharedAddress() : null;
    const fleet = new Fleet(await startServices(names, linked ? { SERVICES_ADDRESS: kServicesAddress } : {}), redis, files);
    if (address) fleet.links.push(address);
    try {
      for (let number = 0; number < options.hosts; ++number) fleet.hosts.push(await fleet.#prepare(number, options));
      await fleet.hosts[0].server.start();  // it makes the tables
      await Promise.all(fleet.hosts.slice(1).map(({ server }) => server.start()));
      for (const { server } of fleet.hosts)
        await until(async () => !files || (await (await fetch(`${server.url}/health`)).json()).components.files === 'ok', 'files are well', 30_000);
    } catch (error) {
      await fleet.abandon();
      throw error;
    }
    return fleet;
  }

  // `rooms`: ids of those that are worked in.
  constructor(services, redisKind, files) {
    Object.assign(this, { services, redisKind, files, hosts: [], links: [], primary: 'postgres', failedOver: null, rooms: [] });
  }

  // A host: its server, the gates before what is behind it, and the ways there.
  async #prepare(number, options) {
    const { env } = this.services;
    const link = options.linked ? new LinkedHost(number, kLinks) : null;
    if (link) this.links.push(link);
    const at = (name) => link?.outside(name) ?? '127.0.0.1';
    const gates = { postgres: await Gate.open(postgresAt(env.DATABASE_URL), at('postgres')),
      standby: await Gate.open(postgresAt(env.DATABASE_REPLICA_URL), at('postgres')) };
    const settings = { ...kEnv, REDIS_URL: await this.redis('url', this.redisKind), ...options.env,
      DATABASE_URL: `postgresql://ringline@${at('postgres')}:${gates.postgres.port},${at('postgres')}:${gates.standby.port}/postgres` };
    if (this.redisKind === 'single' && !link) {
      const url = new URL(settings.REDIS_URL);
      gates.redis = await Gate.open(hostAndPort(url));
      url.port = String(gates.redis.port);
      settings.REDIS_URL = url.href;
    }
    if (this.files) {
      gates.files = await Gate.open(hostAndPort(new URL(env.S3_ENDPOINT)), at('files'));
      const { S3_ACCESS_KEY, S3_SECRET_KEY, S3_REGION, USE_MINIO } = env;
      Object.assign(settings, { S3_ACCESS_KEY, S3_SECRET_KEY, S3_REGION, USE_MINIO, S3_ENDPOINT: gates.files.url, S3_BUCKET: 'fleet', S3_TIMEOUT: '500ms' });
    }
    const way = (name, ...before) => (link ? linkedWay(link, name) : before[0] && gatedWay(...before));
    const ways = { redis: way('redis', gates.redis), postgres: way('postgres', gates.postgres, gates.standby), files: way('files', gates.files) };
    const where = link ? { address: link.inside('clients'), within: link.within } : {};
    return { number, gates, ways, server: prepareServer({ cores: options.cores ?? 1, env: settings, ...where }) };
  }

  redis(...words) { return control(this.services.env.REDIS_CONTROL, ...words); }
  postgres(...words) { return control(this.services.env.POSTGRES_CONTROL, ...words); }

  // Of the one that is the primary now: rows of texts.
  sql(statement) { return query(this.#url(this.primary), statement); }
  #url(which) { return this.services.env[which === 'postgres' ? 'DATABASE_URL' : 'DATABASE_REPLICA_URL']; }
  // All that was committed before is at the standby, too.
  async untilStandbyHasAll() {
    const [[place]] = await this.sql('SELECT pg_current_wal_lsn()');
    const has = async () => (await query(this.#url('standby'), `SELECT pg_last_wal_replay_lsn() >= '${place}'`))[0][0] === 't';
    await until(has, 'the standby has all', 30_000);
  }

  up() { return this.hosts.filter(({ server }) => server.running); }

  // All hosts end well, then the servers behind them.
  async stop() {
    try {
      await Promise.all(this.hosts.map(({ server }) => server.stop()));
    } finally {
      await this.abandon();
    }
  }
  // However they are: after a failure.
  async abandon() {
    await Promise.allSettled(this.hosts.map(({ server }) => server.kill()));
    await Promise.all(this.hosts.flatMap(({ gates }) => Object.values(gates)).map((gate) => gate.close()));
    await this.services.stop();
    for (const link of this.links) link.remove();
  }
}
