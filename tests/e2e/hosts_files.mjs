// Somebody who brings one small file after the other to whatever host he finds, while S3 and all else is troubled: what was completed is there, as it was sent.
// Files are known to PostgreSQL alone: those of the moments before a standby took over may have gone with the old server.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from './server.mjs';

const kEveryMs = 200;
const kAnswerMs = 20_000;

export class Porter {
  constructor(fleet, token, random) {
    Object.assign(this, { fleet, token, random, completed: new Map(), refused: 0 });
  }

  async work(over) {
    while (!over()) {
      await this.#bring(randomBytes(1000));
      await sleep(kEveryMs);
    }
  }

  async check() {
    const { server } = this.fleet.hosts[0];
    for (const [id, { bytes, at }] of this.completed) {
      let response;
      await until(async () => (response = await this.#ask(server, 'GET', `/${id}/content`)).status !== 503, 'files are there again');
      if (response.status === 404 && this.#mayBeGone(at)) continue;
      assert.equal(response.status, 200, `file ${id}`);
      assert.deepEqual(Buffer.from(await response.arrayBuffer()), bytes, `file ${id}`);
    }
  }

  #mayBeGone(at) {
    const { failedOver } = this.fleet;
    return failedOver !== null && at >= failedOver.since && at <= failedOver.until;
  }

  async #bring(bytes) {
    const at = Date.now();
    const begun = await this.#try(at, 'POST', '', JSON.stringify({ name: 'a file', size: bytes.length, mimeType: 'application/octet-stream' }));
    if (!begun) return;
    const { file } = await begun.json();
    if (!(await this.#try(at, 'PUT', `/${file.id}/content`, bytes)) || !(await this.#try(at, 'POST', `/${file.id}/complete`, '{}'))) return;
    this.completed.set(file.id, { bytes, at: Date.now() });
  }

  // Undefined: the host is gone, or cannot do it now.
  async #try(at, method, path, body) {
    const up = this.fleet.up();
    if (up.length === 0) return undefined;
    const response = await this.#ask(up[Math.floor(this.random() * up.length)].server, method, path, body).catch(() => undefined);
    if (response?.ok) return response;
    this.refused += 1;
    const gone = response?.status === 404 && (this.#mayBeGone(at) || this.#mayBeGone(Date.now()));
    if (response && !gone) assert.equal(response.status, 503, `${method} ${path}: ${await response.text()}`);
    return undefined;
  }
  #ask(server, method, path, body) {
    const headers = { Authorization: `Bearer ${this.token}`, 'Content-Type': method === 'PUT' ? 'application/octet-stream' : 'application/json' };
    return fetch(`${server.url}/api/v1/files${path}`, { method, body, headers, signal: AbortSignal.timeout(kAnswerMs) });
  }
}
