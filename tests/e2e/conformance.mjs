// The conformance server as a child of a test (see `conformance-server --help`): our net and protocol layers with fixtures behind them instead of the chat.
// Started on a free port; after a restart it listens where it did.
//
// CONFORMANCE_BIN: the binary; by default it is looked for in the build folder of RINGLINE_BIN.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { kBinary, kGuard, kReport } from './server.mjs';

const kConformance = process.env.CONFORMANCE_BIN ?? join(dirname(resolve(kBinary)), '../../tests/conformance/conformance-server');
const kStartMs = 60_000;  // sanitizers are slow
const kStopMs = 10_000;
const kTextMax = 1024 * 1024;

export const kPingInterval = 300;
export const kPingTimeout = 200;
export const kMaxPayload = 1_000_000;

const alive = new Set();
process.on('exit', () => { for (const child of alive) child.kill('SIGKILL'); });

// options: {cores, pingInterval, pingTimeout, connectTimeout (ms), maxPayload, recovery, deflate}
export async function startConformance(options = {}) {
  const server = new Conformance(options);
  await server.start();
  return server;
}

class Conformance {
  #child = null;
  #exited = null;
  #text = '';

  constructor(options) {
    this.options = { cores: 1, pingInterval: kPingInterval, pingTimeout: kPingTimeout, connectTimeout: 1000, maxPayload: kMaxPayload, recovery: false, deflate: false,
      ...options };
    this.port = 0;
  }

  get url() { return `http://127.0.0.1:${this.port}`; }
  get running() { return this.#child !== null; }
  get text() { return this.#text; }  // what it wrote to standard error

  async start() {
    assert.ok(existsSync(kConformance), `there is no conformance server at ${kConformance}: build it, or set CONFORMANCE_BIN`);
    const { cores, pingInterval, pingTimeout, connectTimeout, maxPayload, recovery, deflate } = this.options;
    const flags = ['--port', this.port, '--cores', cores, '--ping-interval', pingInterval, '--ping-timeout', pingTimeout,
      '--connect-timeout', connectTimeout, '--max-payload', maxPayload, ...(recovery ? ['--recovery'] : []), ...(deflate ? ['--deflate'] : [])].map(String);
    const command = [...kGuard, kConformance, ...flags];
    const child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    alive.add(child);
    this.#text = '';
    let output = '';
    child.stdout.on('data', (bytes) => { output += bytes; });
    child.stderr.on('data', (bytes) => { this.#text = (this.#text + bytes).slice(-kTextMax); });
    this.#exited = new Promise((done) => child.once('close', (code, signal) => {
      alive.delete(child);
      this.#child = null;
      done({ code, signal });
    }));
    const deadline = Date.now() + kStartMs;
    while (!output.includes('\n')) {
      if (!this.running) throw new Error(`the conformance server ended while it started:\n${output}${this.#text}`);
      if (Date.now() > deadline) throw new Error('the conformance server was not ready in time');
      await sleep(5);
    }
    this.port = Number(/(\d+)\D*$/.exec(output.split('\n')[0])?.[1]);
    assert.ok(this.port > 0, `its first line names no port: ${output}`);
  }

  // SIGTERM; it must end in time with 0 and without a sanitizer's report.
  async stop() {
    const child = this.#child;
    if (child === null) return;
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), kStopMs);
    const { code, signal } = await this.#exited;
    clearTimeout(timer);
    assert.equal(kReport.exec(this.#text)?.[0], undefined, this.#text.slice(-8000));
    assert.equal(signal ?? code, 0, `the conformance server did not stop cleanly:\n${this.#text.slice(-8000)}`);
  }

  async restart() {
    await this.stop();
    await this.start();
  }
}
