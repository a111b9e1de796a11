// Engine.IO long-polling by hand: every request is the test's own, over connections that are kept or each over a new one.
import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';

export const pollingPath = (folder) => `${folder}?EIO=4&transport=polling`;
export const websocketPath = (folder) => `${folder}?EIO=4&transport=websocket`;

// How requests reach a server: over connections that are kept, or each over a new one.
export class Http {
  constructor(port, fresh) {
    this.port = port;
    this.agent = fresh ? false : new Agent({ keepAlive: true });
  }

  // {status, headers, text}; fails where the connection does. options: {method, body, headers, signal}
  ask(path, { method = 'GET', body = null, headers = {}, signal } = {}) {
    return new Promise((done, failed) => {
      const length = body === null ? {} : { 'Content-Length': Buffer.byteLength(body) };
      const one = request({ host: '127.0.0.1', port: this.port, path, method, agent: this.agent, signal, headers: { ...length, ...headers } }, (response) => {
        const parts = [];
        response.on('data', (bytes) => parts.push(bytes));
        response.on('error', failed);
        response.on('end', () => done({ status: response.statusCode, headers: response.headers, text: Buffer.concat(parts).toString() }));
      });
      one.on('error', failed);
      one.end(body ?? undefined);
    });
  }

  close() { if (this.agent) this.agent.destroy(); }
}

// One long-polling session.
export class Polling {
  // `extra`: more of the query, for the first request only.
  static async open(http, folder, extra = '') {
    const answer = await http.ask(pollingPath(folder) + extra);
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.text[0], '0');
    return new Polling(http, folder, JSON.parse(answer.text.slice(1)));
  }

  constructor(http, folder, handshake) {
    this.http = http;
    this.handshake = handshake;
    this.sid = handshake.sid;
    this.path = `${pollingPath(folder)}&sid=${this.sid}`;
    this.wsPath = `${websocketPath(folder)}&sid=${this.sid}`;
  }

  poll(options) { return this.http.ask(this.path, options); }
  post(body, options) { return this.http.ask(this.path, { method: 'POST', body, headers: { 'Content-Type': 'text/plain;charset=UTF-8' }, ...options }); }

  async send(body) {
    const answer = await this.post(body);
    assert.deepEqual([answer.status, answer.text], [200, 'ok']);
  }

  // Packets until there are `count`, over as many polls as it takes; pings are answered.
  async packets(count) {
    const all = [];
    while (all.length < count) {
      const answer = await this.poll();
      assert.equal(answer.status, 200, answer.text);
      for (const packet of answer.text.split('\x1e')) packet === '2' ? await this.send('3') : all.push(packet);
    }
    return all;
  }

  // No request gets through to it any more.
  async gone() {
    const answer = await this.poll();
    assert.equal(answer.status, 400, answer.text);
    assert.deepEqual(JSON.parse(answer.text), { code: 1, message: 'Session ID unknown' });
  }
}
