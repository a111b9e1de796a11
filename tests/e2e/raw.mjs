// A WebSocket client that can send any byte: frames are made by hand, nothing is put right, and what the server sends is taken apart strictly.
// Frames are kept as they come, so a test says what it expects in order; a server frame that is masked, or longer in form than it must be, throws.
import { createHash, randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { inflateRawSync } from 'node:zlib';

export const Op = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };
export const kWaitMs = 5000;
const kHeadBytesMax = 64 * 1024;

// `length`: what the header claims, `form`: how many bytes say it (0, 2 or 8); both follow the payload unless given.
export function frame(opcode, payload = '', { fin = true, rsv = 0, masked = true, key = null, length = null, form = null } = {}) {
  const bytes = Buffer.from(payload);
  const size = length ?? bytes.length;
  const wide = form ?? (size > 0xffff ? 8 : size > 125 ? 2 : 0);
  const head = Buffer.alloc(2 + wide);
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  head[1] = (masked ? 0x80 : 0) | (wide === 8 ? 127 : wide === 2 ? 126 : Number(size));
  if (wide === 2) head.writeUInt16BE(Number(size), 2);
  if (wide === 8) head.writeBigUInt64BE(BigInt(size), 2);
  if (!masked) return Buffer.concat([head, bytes]);
  const mask = key ?? randomBytes(4);
  const whole = Buffer.concat([head, mask, bytes]);
  for (let i = 0, at = head.length + 4; i < bytes.length; ++i) whole[at + i] ^= mask[i & 3];
  return whole;
}

// The payload of a close frame.
export function closing(code, reason = '') {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(code);
  return Buffer.concat([bytes, Buffer.from(reason)]);
}

// A TCP connection whose bytes are kept until they are asked for.
export class RawSocket {
  #bytes = [];
  #size = 0;
  #wake = [];
  ended = false;
  failed = null;  // an error code: ECONNRESET, ...

  static open(port, host = '127.0.0.1') {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host, noDelay: true });
      const raw = new RawSocket(socket);
      socket.once('connect', () => resolve(raw));
      socket.once('error', reject);
    });
  }

  constructor(socket) {
    this.socket = socket;
    socket.on('data', (bytes) => {
      this.#bytes.push(bytes);
      this.#size += bytes.length;
      this.#notify();
    });
    socket.on('error', (error) => { this.failed = error.code; });
    for (const event of ['end', 'close']) socket.on(event, () => { this.ended = true; this.#notify(); });
  }

  get size() { return this.#size; }
  write(bytes) { if (!this.socket.destroyed) this.socket.write(bytes); }
  destroy() { this.socket.destroy(); }
  reset() { this.socket.resetAndDestroy(); }

  // Waits until `enough(bytes)` gives something, the connection ends or the time is over; the last two give null.
  async until(enough, ms = kWaitMs) {
    const deadline = Date.now() + ms;
    for (;;) {
      const found = enough(this.peek());
      if (found !== null && found !== undefined && found !== false) return found;
      const left = deadline - Date.now();
      if (this.ended || left <= 0) return null;
      await this.#changed(left);
    }
  }

  async end(ms = kWaitMs) {
    const deadline = Date.now() + ms;
    while (!this.ended && Date.now() < deadline) await this.#changed(deadline - Date.now());
    return this.ended;
  }

  peek() {
    if (this.#bytes.length > 1) this.#bytes = [Buffer.concat(this.#bytes, this.#size)];
    return this.#bytes[0] ?? Buffer.alloc(0);
  }

  take(size) {
    const whole = this.peek();
    this.#size = whole.length - size;
    this.#bytes = this.#size > 0 ? [whole.subarray(size)] : [];
    return whole.subarray(0, size);
  }

  #notify() { for (const wake of this.#wake.splice(0)) wake(); }
  #changed(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake.push(() => { clearTimeout(timer); resolve(); });
    });
  }
}

// A response whose body has a Content-Length: {status, headers, body}. Null where none comes.
export async function readResponse(raw, ms = kWaitMs) {
  const end = await raw.until((bytes) => { const at = bytes.indexOf('\r\n\r\n'); return at < 0 && bytes.length < kHeadBytesMax ? null : at; }, ms);
  if (end === null || end < 0) return null;
  const lines = raw.take(end + 4).toString('latin1').trimEnd().split('\r\n');
  const headers = Object.fromEntries(lines.slice(1).map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]));
  const status = Number(lines[0].split(' ')[1]);
  const size = status === 101 || status === 204 || status === 304 ? 0 : Number(headers['content-length'] ?? 0);
  await raw.until((bytes) => bytes.length >= size, ms);
  return { status, headers, body: raw.take(Math.min(size, raw.size)).toString() };
}

export class RawWebSocket {
  // options: {headers, extensions, protocols, ms}
  static async open(port, path = '/ws', options = {}) {
    const { response, socket } = await RawWebSocket.ask(port, path, options);
    if (response?.status !== 101) throw Object.assign(new Error(`HTTP ${response?.status}: ${response?.body}`), { response });
    return socket;
  }

  // The handshake, whatever comes of it.
  static async ask(port, path = '/ws', { headers = {}, extensions = null, ms = kWaitMs } = {}) {
    const raw = await RawSocket.open(port);
    const key = randomBytes(16).toString('base64');
    const all = { Host: `127.0.0.1:${port}`, Upgrade: 'websocket', Connection: 'Upgrade', 'Sec-WebSocket-Key': key, 'Sec-WebSocket-Version': '13',
      ...(extensions ? { 'Sec-WebSocket-Extensions': extensions } : {}), ...headers };
    const lines = Object.entries(all).filter(([, value]) => value !== null).map(([name, value]) => `${name}: ${value}\r\n`);
    raw.write(`GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`);
    const response = await readResponse(raw, ms);
    const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    if (response?.status === 101 && !headers['Sec-WebSocket-Key'] && response.headers['sec-websocket-accept'] !== accept)
      throw new Error(`Sec-WebSocket-Accept is ${response.headers['sec-websocket-accept']}, not ${accept}`);
    return { response, raw, socket: new RawWebSocket(raw, response) };
  }

  constructor(raw, response) {
    this.raw = raw;
    this.response = response;
    this.extensions = response?.headers['sec-websocket-extensions'] ?? '';
    this.taken = [];  // frames that came while others were waited for
  }

  write(bytes) { this.raw.write(bytes); }
  send(opcode, payload, options) { this.write(frame(opcode, payload, options)); }
  text(text, options) { this.send(Op.text, text, options); }
  binary(bytes, options) { this.send(Op.binary, bytes, options); }
  close(code = 1000, reason = '') { this.send(Op.close, closing(code, reason)); }
  destroy() { this.raw.destroy(); }

  // The next frame {fin, rsv, opcode, payload}; null where the connection ended or nothing came.
  async frame(ms = kWaitMs) {
    const found = await this.raw.until(takeApart, ms);
    if (!found) return null;
    this.raw.take(found.size);
    return { ...found, payload: Buffer.from(found.payload) };
  }

  // The next whole message: {opcode, data}, inflated where RSV1 says so; a control frame comes as it is: {opcode, data, code?}.
  async message(ms = kWaitMs) {
    const parts = [];
    let first = null;
    for (;;) {
      const one = await this.frame(ms);
      if (one === null) return null;
      if (one.opcode === Op.close) return { opcode: one.opcode, data: one.payload.subarray(2), code: one.payload.length < 2 ? 1005 : one.payload.readUInt16BE() };
      if (one.opcode > Op.close) return { opcode: one.opcode, data: one.payload };
      first ??= one;
      if ((parts.length === 0) === (one.opcode === Op.continuation)) throw new Error('a continuation out of its place');
      parts.push(one.payload);
      if (!one.fin) continue;
      const data = Buffer.concat(parts);
      return { opcode: first.opcode, compressed: first.rsv === 4, data: first.rsv === 4 ? this.inflate(data) : data };
    }
  }

  inflate(data) { return inflateRawSync(Buffer.concat([data, Buffer.from([0, 0, 0xff, 0xff])]), { finishFlush: 2 }); }

  // The next text, past pings.
  async string(ms = kWaitMs) {
    const one = await this.message(ms);
    return one?.opcode === Op.text ? one.data.toString() : one?.opcode === Op.close ? `closed ${one.code}` : one === null ? null : one.data;
  }

  // Reads to the end: the close code, 'reset' or 'ended' without one, null where it stays open.
  async closed(ms = kWaitMs) {
    const deadline = Date.now() + ms;
    let code = null;
    while (Date.now() < deadline) {
      const one = await this.message(deadline - Date.now());
      if (one?.opcode === Op.close) {
        code = one.code;
        break;
      }
      if (one === null && this.raw.ended) break;
    }
    if (code !== null) return code;
    return this.raw.ended ? (this.raw.failed ? 'reset' : 'ended') : null;
  }
}

function takeApart(bytes) {
  if (bytes.length < 2) return null;
  if (bytes[1] & 0x80) throw new Error('a server frame is masked');
  const short = bytes[1] & 0x7f;
  const head = short === 127 ? 10 : short === 126 ? 4 : 2;
  if (bytes.length < head) return null;
  const length = short === 127 ? Number(bytes.readBigUInt64BE(2)) : short === 126 ? bytes.readUInt16BE(2) : short;
  if ((short === 126 && length < 126) || (short === 127 && length < 65536)) throw new Error(`a length of ${length} in ${head - 2} bytes`);
  if (bytes.length < head + length) return null;
  const opcode = bytes[0] & 15;
  if (opcode >= 8 && (length > 125 || !(bytes[0] & 0x80))) throw new Error('a control frame that is long or in parts');
  return { fin: (bytes[0] & 0x80) !== 0, rsv: (bytes[0] >> 4) & 7, opcode, payload: bytes.subarray(head, head + length), size: head + length };
}
