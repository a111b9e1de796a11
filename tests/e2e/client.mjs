// A plain /ws client for tests: commands with answers, room events kept in order and checked for gaps as they come.
import WebSocket from 'ws';

export class Client {
  static async connect(url, data = {}, options = {}) {
    const client = new Client(url, options);
    await client.open();
    client.connectData = await client.command('connect', data);
    await client.event('ready');
    return client;
  }

  constructor(url, options = {}) {
    this.socket = new WebSocket(url.replace(/^http/, 'ws') + '/ws', 'ringline.v1', options);
    this.events = [];          // all, in order of arrival
    this.rooms = new Map();    // roomId -> {seq, epoch}: the last seen
    this.waiting = new Map();  // id -> [resolve, reject]
    this.expecting = [];       // {match, resolve}
    this.nextId = 1;
    this.closed = new Promise((resolve) => {
      this.socket.on('close', (code, reason) => {
        for (const [, reject] of this.waiting.values()) reject(new Error(`closed ${code}`));
        this.waiting.clear();
        resolve({ code, reason: String(reason) });
      });
    });
    this.socket.on('error', () => {});  // a close follows
    this.socket.on('message', (bytes) => this.take(JSON.parse(bytes)));
  }

  open() {
    return new Promise((resolve, reject) => {
      this.socket.once('open', resolve);
      this.socket.once('error', reject);
      this.socket.once('unexpected-response', (request, response) => reject(new Error(`HTTP ${response.statusCode}`)));
    });
  }

  take(frame) {
    if (frame.event) {
      if (frame.event === 'ready') this.ready = frame.data;
      if (frame.data.seq !== undefined && frame.data.roomId) {
        const last = this.rooms.get(frame.data.roomId);
        if (last && last.epoch === frame.data.epoch && frame.data.seq !== last.seq + 1)
          this.gap = `${frame.data.roomId}: ${frame.data.seq} after ${last.seq}`;
        this.rooms.set(frame.data.roomId, { seq: frame.data.seq, epoch: frame.data.epoch });
      }
      this.events.push(frame);
      this.expecting = this.expecting.filter(({ match, resolve }) => !match(frame) || (resolve(frame.data), false));
      return;
    }
    const waiting = this.waiting.get(frame.id);
    if (!waiting) {
      this.stray = frame;
      return;
    }
    this.waiting.delete(frame.id);
    waiting[0](frame);
  }

  // The whole answer, {ok, data | error}.
  ask(cmd, data) {
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, [resolve, reject]);
      this.socket.send(JSON.stringify({ id, cmd, data }));
    });
  }

  // The data; throws the error object.
  async command(cmd, data) {
    const answer = await this.ask(cmd, data);
    if (!answer.ok) throw Object.assign(new Error(`${cmd}: ${answer.error.code}: ${answer.error.message}`), answer.error);
    return answer.data;
  }

  // Of its host: whose socket it is (base/ids.hpp).
  get core() { return Number((BigInt(this.connectData.connectionId) >> 8n) & 63n); }

  // The next (or an already seen) event that matches.
  event(name, where = () => true, ms = 5000) {
    const match = (frame) => frame.event === name && where(frame.data);
    const seen = this.events.find(match);
    if (seen) return Promise.resolve(seen.data);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${name} within ${ms} ms`)), ms);
      this.expecting.push({ match, resolve: (data) => (clearTimeout(timer), resolve(data)) });
    });
  }

  messages(roomId) {
    return this.events.filter((frame) => frame.event === 'message_created' && frame.data.roomId === roomId).map((frame) => frame.data.message);
  }

  close() {
    this.socket.close();
    return this.closed;
  }
}

export async function post(url, path, body, token, headers = {}) {
  const response = await fetch(url + path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...(token ? { Authorization: `Bearer ${token}` } : {}), ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  return { status: response.status, headers: response.headers, body: response.status === 204 ? null : await response.json() };
}

export async function put(url, path, body, token) {
  const response = await fetch(url + path, {
    method: 'PUT', headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` }, body: JSON.stringify(body) });
  return { status: response.status, body: await response.json() };
}

export async function get(url, path, token, headers = {}) {
  const response = await fetch(url + path, { headers: { ...(token ? { Authorization: `Bearer ${token}` } : {}), ...headers } });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, body: text.startsWith('{') ? JSON.parse(text) : null };
}
