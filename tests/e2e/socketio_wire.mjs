// Socket.IO packets by hand over either transport: strings and buffers in and out, without Engine.IO's type before them; its pings are answered. And what
// tests of the stock client share.
import assert from 'node:assert/strict';
import { Http, Polling, websocketPath } from './polling.mjs';
import { Op, RawWebSocket } from './raw.mjs';

export const kFolder = '/socket.io/';
export const kTransports = { defaults: {}, 'websocket only': { transports: ['websocket'] }, 'polling only': { transports: ['polling'] } };
const kSoonMs = 400;  // below the heartbeat: closed at once, not by it
const kWaitMs = 5000;

// The arguments of the next such event.
export function heard(socket, event, ms = kWaitMs) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${event} within ${ms} ms`)), ms);
    socket.once(event, (...args) => { clearTimeout(timer); resolve(args); });
  });
}

// For good, with every namespace of its connection.
export function leave(socket) {
  socket.io.reconnection(false);
  socket.disconnect();
  socket.io.engine?.close();
}

export class OverWebSocket {
  static async open(server) {
    const socket = await RawWebSocket.open(server.port, websocketPath(kFolder));
    assert.equal((await socket.string())[0], '0');
    return new OverWebSocket(socket);
  }
  constructor(socket) { this.socket = socket; }

  async send(...packets) { for (const one of packets) typeof one === 'string' ? this.socket.text(`4${one}`) : this.socket.binary(one); }

  async next() {
    for (;;) {
      const one = await this.socket.message(5000);
      if (one === null || one.opcode === Op.close) return null;
      if (one.opcode === Op.binary) return one.data;
      const text = one.data.toString();
      if (text === '2') this.socket.text('3');
      else {
        assert.equal(text[0], '4');
        return text.slice(1);
      }
    }
  }

  ping() { return this.socket.string(); }  // what comes next, raw
  ended(ms = kSoonMs) { return this.socket.closed(ms).then((code) => code !== null); }
  leave() { this.socket.destroy(); }
}

export class OverPolling {
  static async open(server) {
    const http = new Http(server.port, true);
    return new OverPolling(await Polling.open(http, kFolder));
  }
  constructor(session) {
    this.session = session;
    this.taken = [];
  }

  async send(...packets) {
    const { status } = await this.session.post(packets.map((one) => typeof one === 'string' ? `4${one}` : `b${one.toString('base64')}`).join('\x1e')).catch(() => ({ status: 400 }));
    assert.ok(status === 200 || status === 400, `${status}`);
  }

  async next() {
    while (this.taken.length === 0) {
      const { status, text } = await this.session.poll();
      if (status !== 200 || text === '1' || text === '6') return null;
      for (const packet of text.split('\x1e')) packet === '2' ? await this.session.send('3') : this.taken.push(packet);
    }
    const packet = this.taken.shift();
    return packet[0] === 'b' ? Buffer.from(packet.slice(1), 'base64') : packet[0] === '4' ? packet.slice(1) : null;
  }

  async ping() { return (await this.session.poll()).text; }

  async ended(ms = kSoonMs) {
    const until = performance.now() + ms;
    for (;;) {
      const { status } = await this.session.poll().catch(() => ({ status: 0 }));
      if (status === 400) return true;
      if (performance.now() > until) return false;
    }
  }
  leave() { this.session.post('1').catch(() => {}); }
}
