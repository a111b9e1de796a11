// ringline-load --hosts (bench/load/hosts.hpp) as a child of a test: people who chat through whatever host they find, and hold what they are told against each
// other. RINGLINE_LOAD: the binary.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { kGuard, kReport, until } from './server.mjs';

const kLoad = process.env.RINGLINE_LOAD ?? fileURLToPath(new URL('../../build/release/bench/ringline-load', import.meta.url));
const kTextBytes = 64;
const kStartMs = 90_000;
const kEndMs = 60_000;

export class Load {
  // {addresses: 'HOST:PORT' of each host, people, rooms: how many, rate, seed, restMs, seconds}. Everybody is in all rooms when it has started.
  static async start(options) {
    assert.ok(existsSync(kLoad), `there is no load tool at ${kLoad}: build it, or set RINGLINE_LOAD`);
    const load = new Load(options);
    await until(() => load.rooms || load.code !== undefined, () => `everybody is in: ${load.output}`, kStartMs);
    assert.ok(load.rooms, `the load tool ended with ${load.code}: ${load.output}`);
    return load;
  }

  constructor({ addresses, people, rooms, rate, seed, restMs, seconds = 600, moveEvery = 3 }) {
    this.folder = mkdtempSync(join(tmpdir(), 'ringline-load-'));
    this.output = '';
    const flags = { connections: people, rooms, rate, seed, seconds, drain: restMs / 1000, size: kTextBytes, 'move-every': moveEvery, json: this.#file('json'),
      record: this.#file('record') };
    const words = [...addresses.flatMap((address) => ['--at', address]), ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)])];
    const [command, ...args] = [...kGuard, kLoad, '--hosts', ...words];
    // Where lines are counted in the tests alone, this tool is to leave nothing where it happens to run.
    const env = { ...process.env, LLVM_PROFILE_FILE: process.env.LLVM_PROFILE_FILE ?? '/dev/null' };
    this.child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env });
    this.child.stdin.on('error', () => {});  // it has ended: `finish` says how
    for (const stream of [this.child.stdout, this.child.stderr]) stream.on('data', (bytes) => { this.output += bytes; });
    this.ended = new Promise((resolve) => this.child.once('close', (code, signal) => resolve(this.code = code ?? signal)));
  }

  #file(name) { return join(this.folder, name); }

  // Their ids.
  get rooms() { return /^ready (.*)$/m.exec(this.output)?.[1].split(' '); }
  // 'trouble', 'quiet', 'forget', 'stop' or 'end'.
  say(word) { this.child.stdin.write(`${word}\n`); }

  // {sent, acked, pending}: how many messages, so far.
  async counts() {
    const all = () => [...this.output.matchAll(/^sent (\d+) acked (\d+) pending (\d+)$/gm)];
    const before = all().length;
    this.say('count');
    await until(() => all().length > before || this.code !== undefined, () => `it says how many: ${this.output}`);
    assert.ok(all().length > before, `the load tool ended with ${this.code}: ${this.output}`);
    const [, sent, acked, pending] = all().at(-1).map(Number);
    return { sent, acked, pending };
  }

  // Nothing new is sent, and all has come to everybody: what is to be found in the database. Undefined: `finish` says why it did not.
  async rest(ms) {
    this.say('stop');
    const rests = () => /^at rest$/m.test(this.output);
    await until(() => rests() || this.code !== undefined, () => `all comes to rest: ${this.output}`, ms);
    return rests() ? this.#record() : undefined;
  }

  // Everything that was acked, and every event that somebody got; fails where something is wrong.
  async finish() {
    this.say('end');
    await until(() => this.code !== undefined, () => `the load tool ends: ${this.output}`, kEndMs);
    const found = existsSync(this.#file('json')) ? JSON.parse(readFileSync(this.#file('json'), 'utf8')) : null;
    assert.ok(found, `the load tool ended with ${this.code}: ${this.output}`);
    assert.deepEqual([found.failure, found.wrong], ['', []]);
    assert.doesNotMatch(this.output, kReport);
    assert.equal(this.code, 0, this.output);
    return { found, ...this.#record() };
  }
  #record() {
    const lines = readFileSync(this.#file('record'), 'utf8').split('\n').map((line) => line.split(' '));
    const acked = lines.filter(([kind]) => kind === 'acked')
      .map(([, clientId, roomId, id, pending, certain]) => ({ clientId, roomId, id, pending: pending === 'pending', certain: certain === 'certain' }));
    const seen = lines.filter(([kind]) => kind === 'seen').map(([, roomId, epoch, seq, id]) => ({ roomId, epoch: Number(epoch), seq: Number(seq), id }));
    return { acked, seen };
  }

  // However it is.
  async close() {
    if (this.code === undefined) this.child.kill('SIGKILL');
    await this.ended;
    rmSync(this.folder, { recursive: true, force: true });
  }
}
