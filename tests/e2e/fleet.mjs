// Several hosts of one service, as tests need them: one PostgreSQL and one Redis behind, and between each host and Redis a gate that can be shut.
//
// RINGLINE_TEST_POSTGRES, RINGLINE_TEST_REDIS: as `scripts/services` gives them.
import { execFile, execFileSync } from 'node:child_process';
import { promisify } from 'node:util';
import { Gate } from './gate.mjs';
import { startServer } from './server.mjs';

const run = promisify(execFile);
export const kServices = Boolean(process.env.RINGLINE_TEST_POSTGRES && process.env.RINGLINE_TEST_REDIS);

// `$REDIS_CONTROL WORD...`: what it prints.
export async function redis(...words) {
  const { stdout } = await run(process.env.RINGLINE_TEST_REDIS, words);
  return stdout.trim();
}

let schemas = 0;
function newDatabase() {
  const url = process.env.RINGLINE_TEST_POSTGRES;
  const name = `fleet_${process.pid}_${schemas++}`;
  execFileSync('psql', ['-qc', `CREATE SCHEMA ${name}`, url]);
  return `${url}${url.includes('?') ? '&' : '?'}options=-csearch_path%3D${name}`;
}

export class Fleet {
  // {hosts: how many, cores: of each, redis: the control's name for a URL, env}
  static async start(options) {
    const fleet = new Fleet();
    const url = new URL(await redis('url', options.redis ?? 'single'));
    for (let number = 0; number < options.hosts; ++number) {
      const gate = await Gate.open({ host: url.hostname, port: Number(url.port) });
      const through = new URL(url);
      through.hostname = '127.0.0.1';
      through.port = String(gate.port);
      const env = { REDIS_URL: String(through), JWT_SECRET: 'a secret that all hosts of the test have, and nobody else', DATABASE_URL: fleet.database,
        RATE_LIMIT_MESSAGES: '0', RATE_LIMIT_GUESTS: '0', RATE_LIMIT_API_READS: '0', RATE_LIMIT_API_WRITES: '0', ...options.env };
      fleet.hosts.push({ number, gate, server: await startServer({ cores: options.cores ?? 1, env }) });
    }
    return fleet;
  }

  hosts = [];
  database = newDatabase();

  // Rows of the database that all share, as arrays of texts.
  sql(statement) {
    const text = execFileSync('psql', ['-qtAX', '-F', '\t', '-c', statement, this.database], { encoding: 'utf8', maxBuffer: 1 << 30 });
    return text.split('\n').filter(Boolean).map((line) => line.split('\t'));
  }
  up() { return this.hosts.filter(({ server }) => server.running); }
  async stop() {
    for (const { gate } of this.hosts) gate.set('pass');
    await Promise.all(this.hosts.map(({ server }) => server.stop()));
    await Promise.all(this.hosts.map(({ gate }) => gate.close()));
  }
}
