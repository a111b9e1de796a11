// The real server as a child of a test: started on a free port with a data folder of its own, stopped with SIGTERM, killed, started again.
// It never outlives its test, nor does it keep a test alive that has failed before it stopped it; one that ends badly or prints a sanitizer's report fails
// whoever stops it.
//
// RINGLINE_TEST_POSTGRES: the URL of a PostgreSQL to keep all in, each data folder's in a schema of its own, instead of SQLite.
// RINGLINE_TEST_BUS=redis, with that: each data folder's server is one of several hosts, and the only one there is, with a Redis of its own.
// RINGLINE_BIN: the binary. RINGLINE_TEST_DIR: where data folders are made (the system's temporary folder). RINGLINE_KEEP=1 leaves them there.
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const kBinary = process.env.RINGLINE_BIN ?? fileURLToPath(new URL('../../build/release/src/app/ringline', import.meta.url));
const kStartMs = 60_000;  // sanitizers are slow
const kStopMs = 60_000;
const kLinesMax = 20_000;
export const kReport = /ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:|assertion failed:/;

// Where it is there: the kernel ends the server if the test is killed.
export const kGuard = (() => {
  try {
    execFileSync('setpriv', ['--pdeathsig', 'KILL', 'true'], { stdio: 'ignore' });
    return ['setpriv', '--pdeathsig', 'KILL', '--'];
  } catch {
    return [];
  }
})();

const kSqlite = `
import sqlite3, sys
with sqlite3.connect(sys.argv[1], timeout=20) as db:
    for row in db.execute(sys.argv[2]): print(row[0])
`;
// Of a file, past its server: the first column of all rows, with commas.
export const sqlite = (file, statement) => execFileSync('python3', ['-c', kSqlite, file, statement], { encoding: 'utf8' }).trim().replaceAll('\n', ',');
const schemas = new Map();  // by data folder
function database(dataDir) {
  const url = process.env.RINGLINE_TEST_POSTGRES;
  if (!url) return {};
  if (!schemas.has(dataDir)) {
    const name = `test_${process.pid}_${schemas.size}`;
    execFileSync('psql', ['-qc', `CREATE SCHEMA ${name}`, url]);
    schemas.set(dataDir, `${url}${url.includes('?') ? '&' : '?'}options=-csearch_path%3D${name}`);
  }
  return { DATABASE_URL: schemas.get(dataDir) };
}

// Waits for `condition`, at most `ms`; `what` it is, said if it was in vain, is a text or what gives one.
export async function until(condition, what, ms = 20_000) {
  for (const end = Date.now() + ms; !(await condition());) {
    assert.ok(Date.now() < end, `not in time: ${typeof what === 'function' ? what() : what}`);
    await sleep(10);
  }
}

// Of a port that was free a moment ago.
async function freePort() {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address();
  await new Promise((resolve) => listener.close(resolve));
  return port;
}

const buses = new Map();  // by data folder: what names its Redis
async function bus(dataDir) {
  if (process.env.RINGLINE_TEST_BUS !== 'redis' || buses.has(dataDir)) return;
  const port = await freePort();
  const command = [...kGuard, 'redis-server', '--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', dataDir];
  const child = spawn(command[0], command.slice(1), { stdio: 'ignore' });
  child.unref();
  alive.add(child);
  buses.set(dataDir, { REDIS_URL: `redis://127.0.0.1:${port}`, JWT_SECRET: 'a secret that all hosts of a test would have' });
}

const alive = new Set();
const folders = new Set();
process.on('exit', () => {
  for (const child of alive) child.kill('SIGKILL');
  if (process.env.RINGLINE_KEEP !== '1') for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

// options: {cores, env, args, dataDir, descriptors (the limit on them), address (to listen on), within (a command that runs it)}
export async function startServer(options = {}) {
  const server = new Server(options);
  await server.start();
  return server;
}

// The same, before its first start.
export const prepareServer = (options = {}) => new Server(options);

class Server {
  #lines = [];
  #partial = '';
  #reports = [];
  #child = null;
  #exited = null;  // a promise of {code, signal}

  constructor(options) {
    this.options = { cores: 1, env: {}, args: [], address: '127.0.0.1', within: [], ...options };
    this.dataDir = options.dataDir ?? mkdtempSync(join(process.env.RINGLINE_TEST_DIR ?? tmpdir(), 'ringline-'));
    if (!options.dataDir) folders.add(this.dataDir);
    this.port = 0;
  }

  // Of the database, past the server: the first column of all rows, with commas.
  sql(statement) {
    const url = schemas.get(this.dataDir);
    if (!url) return sqlite(join(this.dataDir, 'ringline.db'), statement);
    return execFileSync('psql', ['-qtAc', statement, url], { encoding: 'utf8' }).trim().replaceAll('\n', ',');
  }
  // A command of the same program on the same data: {stdout, stderr}; an error has `code` too.
  command(...args) { return promisify(execFile)(kBinary, args, { env: this.environment() }); }
  // Where the data is.
  environment() { return { ...process.env, DATA_DIR: this.dataDir, ...database(this.dataDir), ...buses.get(this.dataDir), ...this.options.env }; }
  get url() { return `http://${this.options.address}:${this.port}`; }
  get pid() { return this.#child?.pid; }
  get running() { return this.#child !== null; }

  // What it wrote to standard error since it was started last, by lines; and each line as it comes.
  logs() { return [...this.#lines]; }
  onLine = () => {};

  async start() {
    assert.ok(!this.running, 'the server runs already');
    assert.ok(existsSync(kBinary), `there is no server at ${kBinary}: build it, or set RINGLINE_BIN`);
    const portFile = join(this.dataDir, 'port');
    rmSync(portFile, { force: true });  // of an earlier run
    this.#lines = [];
    this.#partial = '';
    const { descriptors, args, address, within } = this.options;
    const limit = descriptors ? ['prlimit', `--nofile=${descriptors}:${descriptors}`, '--'] : [];
    const command = [...kGuard, ...within, ...limit, kBinary, ...args];
    await bus(this.dataDir);
    // After a restart it listens where it did, as it would in production: stock clients come back to the same address.
    const env = { ...this.environment(), HOST: address, PORT: String(this.port), CORES: String(this.options.cores), PIN_CORES: 'off', ...this.options.env };
    const child = spawn(command[0], command.slice(1), { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    alive.add(child);
    let output = '';
    child.stdout.on('data', (bytes) => { output += bytes; });
    child.stderr.on('data', (bytes) => this.#take(String(bytes)));
    this.#exited = new Promise((resolve) => child.once('close', (code, signal) => {
      alive.delete(child);
      this.#child = null;
      resolve({ code, signal });
    }));
    this.#hold('unref');
    const deadline = Date.now() + kStartMs;
    while (!/listening on/.test(output) || !(await this.#ready(portFile))) {
      if (!this.running) throw new Error(`the server ended while it started:\n${output}${this.#tail()}`);
      if (Date.now() > deadline) {
        await this.kill();
        throw new Error(`the server was not ready in time:\n${output}${this.#tail()}`);
      }
      await sleep(5);
    }
  }

  // SIGTERM; it must end with 0 and without a sanitizer's report.
  async stop() {
    if (!this.running) return this.#check();
    const child = this.#child;
    this.#hold('ref');
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), kStopMs);
    const { code, signal } = await this.#exited;
    clearTimeout(timer);
    this.#check();
    assert.equal(signal ?? code, 0, `the server did not stop cleanly:\n${this.#tail()}`);
  }

  // SIGKILL, at once.
  async kill() {
    if (this.running) this.#hold('ref');
    this.#child?.kill('SIGKILL');
    await this.#exited;
    this.#check();
  }

  // Stops it if it runs, and starts it on the same data with `changes` to its options.
  async restart(changes = {}) {
    if (this.running) await this.stop();
    this.options = { ...this.options, ...changes };
    await this.start();
  }

  // Whether node waits for it (`ref`, `unref`).
  #hold(how) { for (const one of [this.#child, this.#child.stdout, this.#child.stderr]) one[how](); }

  async #ready(portFile) {
    if (!existsSync(portFile)) return false;
    this.port = Number(readFileSync(portFile, 'utf8'));
    if (!this.port) return false;
    try {
      const answer = await fetch(`${this.url}/readyz`, { signal: AbortSignal.timeout(5000) });
      await answer.arrayBuffer();
      return answer.ok;
    } catch {
      return false;
    }
  }

  #take(text) {
    const lines = (this.#partial + text).split('\n');
    this.#partial = lines.pop();
    for (const line of lines) {
      if (kReport.test(line)) this.#reports.push(line);
      this.onLine(line);
    }
    this.#lines.push(...lines);
    if (this.#lines.length > kLinesMax) this.#lines.splice(0, this.#lines.length - kLinesMax);
  }

  #check() {
    const reports = this.#reports.splice(0);
    assert.deepEqual(reports, [], `reports of the server:\n${this.#tail()}`);
  }

  #tail() { return this.#lines.slice(-200).join('\n'); }
}
