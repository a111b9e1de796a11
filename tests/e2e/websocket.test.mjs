// RFC 6455 and RFC 7692 on the conformance server's echo at /ws, byte by byte: own cases for each family of the well-known fuzzing client (1 framing,
// 2 pings, 3 reserved bits, 4 opcodes, 5 fragmentation, 6 UTF-8, 7 close, 8 opening handshake, 9 limits, 10 fragments of one size, 12 and 13 compression).
// A case sends its bytes and says all that must come back: nothing more may, and the connection must end as it says.
//
// RINGLINE_LONG=1: families 9, 12 and 13 whole.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib';
import { startConformance } from './conformance.mjs';
import { Op, RawSocket, RawWebSocket, closing, frame, readResponse } from './raw.mjs';

const kLong = process.env.RINGLINE_LONG === '1';
const kKiB = 1024;
const kMiB = 1024 * kKiB;
const kCloseMs = 3000;  // sanitizers are slow
const kLargeMs = 60_000;
const kQuietMs = 30;    // that nothing comes
const kMessages = kLong ? 1000 : 20;  // of each case of family 12

let server;
before(async () => { server = await startConformance({ cores: 2, deflate: true }); });
after(() => server?.stop());

const text = (payload, options) => frame(Op.text, payload, options);
const binary = (payload, options) => frame(Op.binary, payload, options);
const ping = (payload, options) => frame(Op.ping, payload, options);
const pong = (payload, options) => frame(Op.pong, payload, options);
const more = (payload, options) => frame(Op.continuation, payload, options);
const close = (code, reason) => frame(Op.close, closing(code, reason));
const open = { fin: false };  // a fragment that others follow
const said = (payload) => [Op.text, payload];
const bytes = (payload) => [Op.binary, payload];
const ponged = (payload) => [Op.pong, payload];

async function write(socket, sent, chop) {
  for (const one of sent) {
    if (typeof one === 'number') await sleep(one);
    else if (!chop) socket.write(one);
    else for (let at = 0; at < one.length; at += chop) {
      socket.write(one.subarray(at, at + chop));
      await new Promise(setImmediate);  // so that the kernel sees single writes
    }
  }
}

async function hear(socket, expected, ms = kCloseMs) {
  for (const [opcode, payload] of expected) {
    const one = await socket.message(ms);
    assert.ok(one, `nothing came instead of ${Op.text === opcode ? 'text' : `opcode ${opcode}`} of ${payload.length}`);
    assert.equal(one.opcode, opcode, one.code ? `closed with ${one.code}` : undefined);
    assert.ok(one.data.equals(Buffer.from(payload)), `${one.data.length} bytes that differ from the ${Buffer.byteLength(payload)} expected`);
  }
}

// Sends, hears exactly that, and then: `fails`: the server ends it with one of these codes; `closes`: it answers our close with this code; else
// it is still well, and a clean close follows.
async function run({ sends, hears = [], fails = null, closes = null, chop = 0, ms = kCloseMs, extensions = null }) {
  const socket = await RawWebSocket.open(server.port, '/ws', { extensions });
  try {
    await Promise.all([write(socket, sends, chop), hear(socket, hears, ms)]);
    const wanted = fails ?? (closes === null ? null : [closes].flat());
    if (wanted === null) socket.close(1000);
    const last = await socket.message(ms);
    assert.ok(last, socket.raw.ended ? `it ended without a close frame (${socket.raw.failed ?? 'cleanly'})` : 'it stays open');
    assert.equal(last.opcode, Op.close, `more came: ${last.data}`);
    assert.ok((wanted ?? [1000]).includes(last.code), `closed with ${last.code}, not ${wanted ?? 1000}`);
    if (fails) socket.raw.socket.end(close(last.code));
    assert.ok(await socket.raw.end(kCloseMs), 'closed, but the connection stays');
    assert.equal(socket.raw.size, 0, 'bytes behind the close frame');
  } finally {
    socket.destroy();
  }
}
// `what` may be a function, for what is large: it is made when its turn comes.
const check = (name, what) => test(name, () => run(typeof what === 'function' ? what() : what));

describe('1 framing', () => {
  const chops = [0, 997, 1];
  for (const size of [0, 1, 125, 126, 127, 128, 65535, 65536]) for (const chop of chops) {
    if (chop === 1 && size > 128) continue;
    const how = chop ? `in writes of ${chop}` : 'at once';
    check(`text of ${size}, ${how}`, { sends: [text('*'.repeat(size))], hears: [said('*'.repeat(size))], chop });
    check(`binary of ${size}, ${how}`, { sends: [binary(Buffer.alloc(size, 0xfe))], hears: [bytes(Buffer.alloc(size, 0xfe))], chop });
  }
  check('many frames in one write', { sends: [Buffer.concat(Array.from({ length: 200 }, (_, i) => text(`n${i}`)))], hears: Array.from({ length: 200 }, (_, i) => said(`n${i}`)) });
  for (const key of [[0, 0, 0, 0], [255, 255, 255, 255], [0x80, 0, 1, 0]])
    check(`mask ${key}`, { sends: [text('masked as it may be', { key: Buffer.from(key) })], hears: [said('masked as it may be')] });
  for (const [opcode, name] of [[Op.text, 'text'], [Op.binary, 'binary'], [Op.ping, 'ping'], [Op.close, 'close']]) {
    const payload = opcode === Op.close ? closing(1000) : 'bare';
    check(`${name} without a mask fails`, { sends: [frame(opcode, payload, { masked: false })], fails: [1002] });
    check(`${name} without a mask fails after a message`, { sends: [text('good'), frame(opcode, payload, { masked: false })], hears: [said('good')], fails: [1002] });
  }
  check('a length with its top bit set fails', { sends: [binary('', { length: 1n << 63n, form: 8 })], fails: [1002, 1009] });
  check('a length above every limit fails before its payload comes', { sends: [binary('some', { length: 1n << 40n, form: 8 })], fails: [1009] });
  // A length in more bytes than it needs: the RFC forbids it, most servers take it; what matters is that no byte shifts.
  for (const form of [2, 8]) test(`a short length in ${form} bytes is refused or read right`, async () => {
    const socket = await RawWebSocket.open(server.port);
    socket.write(text('short', { form }));
    const one = await socket.message(kCloseMs);
    assert.ok(one && (one.opcode === Op.close ? one.code === 1002 : one.data.toString() === 'short'));
    socket.destroy();
  });
});

describe('2 pings and pongs', () => {
  for (const payload of ['', 'Hello', Buffer.from([0, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0, 0xff]), Buffer.alloc(125, 0xfe)]) for (const chop of [0, 1])
    check(`a ping of ${payload.length}${chop ? ' byte by byte' : ''}`, { sends: [ping(payload)], hears: [ponged(payload)], chop });
  check('a ping of 126 fails', { sends: [ping(Buffer.alloc(126))], fails: [1002] });
  check('a pong of 126 fails', { sends: [pong(Buffer.alloc(126))], fails: [1002] });
  for (const form of [2, 8]) check(`a ping with its length in ${form} bytes fails`, { sends: [ping('x', { length: 1, form })], fails: [1002] });
  check('a pong that nobody asked for is ignored', { sends: [pong('')] });
  check('a pong with a payload is ignored', { sends: [pong('unsolicited')] });
  check('pong, then ping', { sends: [pong('unsolicited'), ping('ping')], hears: [ponged('ping')] });
  for (const chop of [0, 1]) {
    const all = Array.from({ length: 10 }, (_, i) => `payload ${i}`);
    check(`ten pings${chop ? ' byte by byte' : ''}`, { sends: all.map((one) => ping(one)), hears: all.map(ponged), chop });
  }
  check('pings between messages keep their place', { sends: [text('a'), ping('1'), text('b'), ping('2')], hears: [said('a'), ponged('1'), said('b'), ponged('2')] });
});

describe('3 reserved bits', () => {
  for (let rsv = 1; rsv < 8; ++rsv) {
    check(`${rsv} on text fails`, { sends: [text('x', { rsv })], fails: [1002] });
    check(`${rsv} on binary fails`, { sends: [binary('x', { rsv })], fails: [1002] });
    check(`${rsv} after a message, with a ping behind`, { sends: [text('good'), text('bad', { rsv }), ping('never')], hears: [said('good')], fails: [1002] });
    check(`${rsv} after a message, byte by byte`, { sends: [text('good'), text('bad', { rsv })], hears: [said('good')], fails: [1002], chop: 1 });
    check(`${rsv} on a ping fails`, { sends: [ping('x', { rsv })], fails: [1002] });
    check(`${rsv} on a close fails`, { sends: [frame(Op.close, closing(1000), { rsv })], fails: [1002] });
    check(`${rsv} on a continuation fails`, { sends: [text('a', open), more('b', { rsv })], fails: [1002] });
  }
});

describe('4 opcodes', () => {
  for (const opcode of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) {
    check(`${opcode}, empty, fails`, { sends: [frame(opcode)], fails: [1002] });
    check(`${opcode} with a payload fails`, { sends: [frame(opcode, 'reserved')], fails: [1002] });
    check(`${opcode} after a message, with a ping behind`, { sends: [text('good'), frame(opcode), ping('never')], hears: [said('good')], fails: [1002] });
    check(`${opcode} byte by byte after a message`, { sends: [text('good'), frame(opcode, 'x')], hears: [said('good')], fails: [1002], chop: 1 });
    check(`${opcode} between fragments fails`, { sends: [text('a', open), frame(opcode), more('b')], fails: [1002] });
  }
});

describe('5 fragmentation', () => {
  for (const [name, opcode, heard] of [['text', Op.text, said], ['binary', Op.binary, bytes]]) {
    const first = (payload) => frame(opcode, payload, open);
    for (const chop of [0, 1]) {
      const how = chop ? ', byte by byte' : '';
      check(`${name} in two${how}`, { sends: [first('one '), more('two')], hears: [heard('one two')], chop });
      check(`${name} in two, a ping between${how}`, { sends: [first('one '), ping('now'), more('two')], hears: [ponged('now'), heard('one two')], chop });
      check(`${name} in five, pings and pongs between${how}`, { sends: [first('1'), pong('x'), more('2', open), ping('a'), more('3', open), more('', open), ping('b'), more('5')],
        hears: [ponged('a'), ponged('b'), heard('1235')], chop });
    }
    check(`${name} in two, in one write`, { sends: [Buffer.concat([first('one '), more('two')])], hears: [heard('one two')] });
    check(`${name} of empty fragments`, { sends: [first(''), more('', open), more('')], hears: [heard('')] });
    check(`${name} with one empty fragment at each place`, { sends: [first(''), more('middle', open), more('')], hears: [heard('middle')] });
    check(`${name} in two with a rest between`, { sends: [first('one '), 200, ping('still there'), 200, more('two')], hears: [ponged('still there'), heard('one two')] });
    check(`${name} begun inside another fails`, { sends: [first('a'), frame(opcode, 'b')], fails: [1002] });
    check(`${name} fragment begun inside another fails`, { sends: [first('a'), first('b'), more('c')], fails: [1002] });
    check(`${name} of 1,000 fragments`, { sends: [Buffer.concat([first('.'), ...Array.from({ length: 998 }, () => more('.', open)), more('.')])], hears: [heard('.'.repeat(1000))] });
    check(`${name} and again, whole`, { sends: [first('a'), more('b'), frame(opcode, 'c')], hears: [heard('ab'), heard('c')] });
  }
  check('a ping in two fails', { sends: [ping('a', open), more('b')], fails: [1002] });
  check('a pong in two fails', { sends: [pong('a', open), more('b')], fails: [1002] });
  check('a close in two fails', { sends: [frame(Op.close, closing(1000), open)], fails: [1002] });
  for (const fin of [true, false]) {
    const how = fin ? 'a last' : 'a';
    check(`${how} continuation of nothing fails`, { sends: [more('lost', { fin }), text('never')], fails: [1002] });
    check(`${how} continuation behind a whole message fails`, { sends: [text('good'), more('lost', { fin })], hears: [said('good')], fails: [1002] });
    check(`${how} continuation behind a message in parts fails`, { sends: [text('go', open), more('od'), more('lost', { fin })], hears: [said('good')], fails: [1002] });
    check(`${how} continuation of nothing, in one write with what follows, fails`, { sends: [Buffer.concat([more('lost', { fin }), text('never', open), more('said')])], fails: [1002] });
  }
});

// Strings by name; whole, in frames of a byte, and in writes of a byte.
const kValid = {
  nothing: '', ascii: 'Hello-µ@ßöäüàá-UTF-8!!', kosme: 'κόσμε', 'two bytes, first': '\u0080', 'two bytes, last': '\u07ff', 'three bytes, first': '\u0800',
  'three bytes, last': '\uffff', 'four bytes, first': '\u{10000}', 'four bytes, last': '\u{10ffff}', 'nul': '\0', 'delete': '\x7f', 'before the surrogates': '\ud7ff',
  'behind the surrogates': '\ue000', 'replacement': '\ufffd', 'noncharacters': '\ufdd0\ufdef\ufffe\u{1fffe}\u{2ffff}\u{10fffe}', 'byte order mark': '\ufeff', emoji: '👩‍👩‍👧‍👦 😀',
};
const kInvalid = {
  'a lone continuation': '80', 'another': 'bf', 'two of them': '80bf', 'seven of them': '80bf80bf80bf80', 'all continuations': Buffer.from(Array.from({ length: 64 }, (_, i) => 0x80 + i)).toString('hex'),
  'a lone start of two': 'c220', 'of three': 'e020', 'of four': 'f020', 'starts in a row': 'c2c3c4', 'two, cut': 'df', 'three, cut': 'efbf', 'three, cut earlier': 'ef', 'four, cut': 'f7bfbf',
  'four, cut to two': 'f09f', 'fe': 'fe', 'ff': 'ff', 'fe fe ff ff': 'fefeffff', 'overlong slash in two': 'c0af', 'in three': 'e080af', 'in four': 'f08080af', 'in five': 'f8808080af',
  'in six': 'fc80808080af', 'overlong maximum in two': 'c1bf', 'overlong in three': 'e09fbf', 'overlong in four': 'f08fbfbf', 'overlong nul': 'c080', 'nul in three': 'e08080', 'nul in four': 'f0808080',
  'first surrogate': 'eda080', 'last of the high ones': 'edafbf', 'first low one': 'edb080', 'last surrogate': 'edbfbf', 'a pair of surrogates': 'eda080edb080', 'above the last': 'f4908080', 'far above': 'f7bfbfbf',
  'five bytes': 'f888808080', 'six bytes': 'fc8480808080', 'after good text': 'cebae1bdb9cf83cebcceb5eda080656469746564', 'a wrong second byte': 'f0288cbc', 'a wrong third byte': 'f09028bc', 'a wrong fourth byte': 'f0908c28',
};

describe('6 UTF-8', () => {
  const split = (payload) => payload.length < 2 ? [text(payload)]
    : [...payload].map((_, i) => frame(i ? Op.continuation : Op.text, payload.subarray(i, i + 1), { fin: i === payload.length - 1 }));
  for (const [name, string] of Object.entries(kValid)) {
    check(`good, whole: ${name}`, { sends: [text(string)], hears: [said(string)] });
    check(`good, in frames of a byte: ${name}`, { sends: split(Buffer.from(string)), hears: [said(string)] });
    check(`good, in writes of a byte: ${name}`, { sends: [text(string)], hears: [said(string)], chop: 1 });
  }
  for (const [name, hex] of Object.entries(kInvalid)) {
    const payload = Buffer.from(hex, 'hex');
    check(`bad, whole: ${name}`, { sends: [text(payload)], fails: [1007] });
    check(`bad, in frames of a byte: ${name}`, { sends: [Buffer.concat(split(payload))], fails: [1007] });
    check(`bad, after a message: ${name}`, { sends: [text('good'), text(payload)], hears: [said('good')], fails: [1007] });
    check(`binary may hold it: ${name}`, { sends: [binary(payload)], hears: [bytes(payload)] });
  }
  const good = Buffer.from('κόσμε');
  const bad = Buffer.from('f4908080', 'hex');
  check('fail fast: at the fragment, though others are to follow', { sends: [text(good, open), more(bad, open)], fails: [1007] });
  check('fail fast: at the byte, though the frame goes on', { sends: [text(Buffer.concat([good, bad]), { length: 1000 })], fails: [1007] });
  check('fail fast: at the first byte that cannot be right', { sends: [text(good, open), more(bad.subarray(0, 2), open)], fails: [1007] });
  check('a character over fragments and a ping', { sends: [text(good.subarray(0, 3), open), ping('x'), more(good.subarray(3, 4), open), more(good.subarray(4))], hears: [ponged('x'), said(good)] });
  check('a character that the last fragment cuts', { sends: [text(good.subarray(0, 4), open), more(good.subarray(4, good.length - 1))], fails: [1007] });
});

describe('7 close', () => {
  check('a message, then a close', { sends: [text('bye'), close(1000)], hears: [said('bye')], closes: 1000 });
  check('two closes', { sends: [Buffer.concat([close(1000), close(1000)])], closes: 1000 });
  check('a ping behind a close is not answered', { sends: [Buffer.concat([close(1000), ping('never')])], closes: 1000 });
  check('a message behind a close is not echoed', { sends: [Buffer.concat([close(1000), text('never')])], closes: 1000 });
  check('a message that its close cuts is not echoed', { sends: [text('cut', open), close(1000), more('off')], closes: 1000 });
  check('256 KiB, a close, a ping', { sends: [text('B'.repeat(256 * kKiB)), close(1000), ping('never')], hears: [said('B'.repeat(256 * kKiB))], closes: 1000 });
  check('a close without a code', { sends: [frame(Op.close)], closes: [1005, 1000] });
  check('a close of one byte fails', { sends: [frame(Op.close, 'x')], fails: [1002] });
  check('a close with a reason', { sends: [close(1000, 'enough')], closes: 1000 });
  check('a close with the longest reason', { sends: [close(1000, '*'.repeat(123))], closes: 1000 });
  check('a close with a reason that is too long fails', { sends: [close(1000, '*'.repeat(124))], fails: [1002] });
  check('a reason that is not UTF-8 fails', { sends: [close(1000, Buffer.from('cebaedb080', 'hex'))], fails: [1007, 1002] });
  check('a reason in UTF-8', { sends: [close(1000, 'κόσμε')], closes: 1000 });
  for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4500, 4999]) check(`code ${code} is answered with itself`, { sends: [close(code)], closes: code });
  for (const code of [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]) {
    check(`code ${code} fails`, { sends: [close(code)], fails: [1002] });
    check(`code ${code} with a reason fails`, { sends: [close(code, 'why not')], fails: [1002] });
  }
  test('after a failure the server goes when its close is answered, though the client holds its side open', async () => {
    const socket = await RawWebSocket.open(server.port);
    socket.write(text('x', { rsv: 1 }));
    assert.equal((await socket.message(kCloseMs)).code, 1002);
    socket.close(1002);
    assert.ok(await socket.raw.end(1000));
  });
  test('who goes without a close costs nothing', async () => {
    for (const leave of [(one) => one.destroy(), (one) => one.raw.reset(), (one) => one.raw.socket.end()]) {
      const socket = await RawWebSocket.open(server.port);
      socket.write(text('cut short', { length: 1000 }));
      leave(socket);
      assert.ok(await socket.raw.end(kCloseMs) || socket.raw.socket.destroyed);
    }
    await run({ sends: [text('others go on')], hears: [said('others go on')] });
  });
});

describe('8 opening handshake', () => {
  const key = 'dGhlIHNhbXBsZSBub25jZQ==';  // of RFC 6455
  const ask = (headers, options = {}) => RawWebSocket.ask(server.port, options.path ?? '/ws', { headers, ...options });
  const takes = [
    ['as browsers do', { Connection: 'keep-alive, Upgrade', Origin: null, Pragma: 'no-cache' }],
    ['names and tokens in any case', { Upgrade: null, Connection: null, Host: null, 'UPGRADE': 'WebSocket', 'connection': 'upgrade', 'hOST': 'x' }],
    ['an extension nobody knows', { 'Sec-WebSocket-Extensions': 'x-unknown; a=1, x-other' }],
    ['many headers', Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`X-Header-${i}`, 'v'.repeat(100)]))],
  ];
  for (const [name, headers] of takes) test(`taken: ${name}`, async () => {
    const { response, socket } = await ask(headers);
    assert.equal(response?.status, 101);
    assert.match(response.headers.upgrade, /^websocket$/i);
    assert.match(response.headers.connection, /upgrade/i);
    assert.equal(response.headers['sec-websocket-extensions'], undefined);
    assert.equal(response.headers['sec-websocket-protocol'], undefined);
    socket.text('in');
    assert.equal(await socket.string(), 'in');
    socket.destroy();
  });
  test("the RFC's own key gets the RFC's own answer", async () => {
    const { response, socket } = await ask({ 'Sec-WebSocket-Key': key });
    assert.equal(response.headers['sec-websocket-accept'], 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
    socket.destroy();
  });
  const refuses = [
    ['no key', { 'Sec-WebSocket-Key': null }], ['a key that is too short', { 'Sec-WebSocket-Key': 'c2hvcnQ=' }], ['a key that is no base64', { 'Sec-WebSocket-Key': '!!!!!!!!!!!!!!!!!!!!!!==' }],
    ['no version', { 'Sec-WebSocket-Version': null }], ['version 8', { 'Sec-WebSocket-Version': '8' }], ['version 14', { 'Sec-WebSocket-Version': '14' }],
    ['an upgrade to something else', { Upgrade: 'h2c' }], ['no Upgrade', { Upgrade: null }], ['Connection without upgrade', { Connection: 'keep-alive' }],
  ];
  for (const [name, headers] of refuses) test(`refused: ${name}`, async () => {
    const { response, socket } = await ask(headers);
    socket.destroy();
    assert.ok([400, 404, 426].includes(response?.status), `${response?.status}`);
    if (headers['Sec-WebSocket-Version']) assert.match(response.headers['sec-websocket-version'] ?? '', /\b13\b/);
  });
  const whole = (line, extra = '') => `${line}\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\n${extra}\r\n`;
  for (const [name, line] of [['POST', 'POST /ws HTTP/1.1'], ['HTTP/1.0', 'GET /ws HTTP/1.0']]) test(`refused: ${name}`, async () => {
    const raw = await RawSocket.open(server.port);
    raw.write(whole(line));
    const response = await readResponse(raw);
    assert.ok(response && response.status >= 400 && response.status < 506, `${response?.status}`);
    raw.destroy();
  });
  test('frames in one write with the handshake are heard', async () => {
    const raw = await RawSocket.open(server.port);
    raw.write(Buffer.concat([Buffer.from(whole('GET /ws HTTP/1.1')), text('early'), ping('bird')]));
    const socket = new RawWebSocket(raw, await readResponse(raw));
    await hear(socket, [said('early'), ponged('bird')]);
    socket.destroy();
  });
  test('a handshake byte by byte', async () => {
    const raw = await RawSocket.open(server.port);
    for (const byte of whole('GET /ws?a=b HTTP/1.1')) {
      raw.write(byte);
      await new Promise(setImmediate);
    }
    assert.equal((await readResponse(raw)).status, 101);
    raw.destroy();
  });
});

describe('9 limits', () => {
  const large = (size) => Buffer.alloc(size, 'BAsd7&jh23');
  for (const size of kLong ? [64 * kKiB, 256 * kKiB, kMiB, 4 * kMiB, 8 * kMiB, 16 * kMiB] : [64 * kKiB, kMiB, 16 * kMiB]) {
    check(`text of ${size}`, () => ({ sends: [text(large(size))], hears: [said(large(size))], ms: kLargeMs }));
    check(`binary of ${size}`, () => ({ sends: [binary(large(size))], hears: [bytes(large(size))], ms: kLargeMs }));
  }
  const whole = large(kLong ? 4 * kMiB : 256 * kKiB);
  for (const size of [64, 256, kKiB, 4 * kKiB, 16 * kKiB, 64 * kKiB, 256 * kKiB, kMiB].filter((one) => one <= whole.length)) for (const [name, opcode, heard] of [['text', Op.text, said], ['binary', Op.binary, bytes]]) {
    check(`${name} of ${whole.length} in fragments of ${size}`, () => {
      const fragments = Array.from({ length: whole.length / size }, (_, i) => frame(i ? Op.continuation : opcode, whole.subarray(i * size, (i + 1) * size), { fin: (i + 1) * size === whole.length }));
      return { sends: [Buffer.concat(fragments)], hears: [heard(whole)], ms: kLargeMs };
    });
  }
  const chopped = kLong ? kMiB : 64 * kKiB;
  for (const chop of [64, 128, 256, 512, kKiB, 2 * kKiB]) {
    check(`text of ${chopped} in writes of ${chop}`, () => ({ sends: [text(large(chopped))], hears: [said(large(chopped))], chop, ms: kLargeMs }));
    check(`binary of ${chopped} in writes of ${chop}`, () => ({ sends: [binary(large(chopped))], hears: [bytes(large(chopped))], chop, ms: kLargeMs }));
  }
  for (const size of [0, 16, 64, 256, kKiB, 4 * kKiB]) for (const [name, heard, make] of [['texts', said, text], ['binaries', bytes, binary]]) test(`${name} of ${size}, one after the other`, async () => {
    const socket = await RawWebSocket.open(server.port);
    for (let i = 0; i < (kLong ? 1000 : 50); ++i) {
      socket.write(make(large(size)));
      await hear(socket, [heard(large(size))]);
    }
    socket.destroy();
  });
  check('65,536 fragments of a byte', { sends: [Buffer.concat([text('x', open), ...Array.from({ length: 65534 }, () => more('x', open)), more('x')])], hears: [said('x'.repeat(65536))], ms: kLargeMs });
});

describe('10 fragments of one size', () => {
  for (const [size, part] of [[65536, 1300], [65536, 65535], [100_000, 1]].slice(0, kLong ? 3 : 2)) {
    const whole = Buffer.alloc(size, '*');
    const parts = [];
    for (let at = 0; at < size; at += part) parts.push(frame(at ? Op.continuation : Op.text, whole.subarray(at, at + part), { fin: at + part >= size }));
    check(`${size} in parts of ${part}`, { sends: [Buffer.concat(parts)], hears: [said(whole)], ms: kLargeMs });
  }
});

// ---- permessage-deflate

const kTail = Buffer.from([0, 0, 0xff, 0xff]);
const kDeflate = 'permessage-deflate';

// What was agreed on, checked against the offer: {name: value | true}, null where nothing was.
function agreed(extensions, offer) {
  if (!extensions) return null;
  const [name, ...parameters] = extensions.split(';').map((one) => one.trim());
  assert.equal(name, kDeflate);
  const found = {};
  for (const parameter of parameters) {
    const [key, value] = parameter.split('=').map((one) => one.trim().replace(/^"(.*)"$/, '$1'));
    assert.ok(['server_no_context_takeover', 'client_no_context_takeover', 'server_max_window_bits', 'client_max_window_bits'].includes(key), parameter);
    assert.ok(!(key in found), `${key} twice`);
    if (key.endsWith('bits')) assert.match(value, /^([89]|1[0-5])$/);
    else assert.equal(value, undefined, parameter);
    found[key] = value ?? true;
  }
  if (!offer.includes('client_max_window_bits')) assert.equal(found.client_max_window_bits, undefined, 'client_max_window_bits that was not offered');
  return found;
}

// A client that keeps to what was agreed on, and no more: where it may keep its context it does, and it reads with no larger a window than the server may use.
class Deflating {
  static async open(offer = kDeflate) {
    const socket = await RawWebSocket.open(server.port, '/ws', { extensions: offer });
    const terms = agreed(socket.extensions, offer);
    assert.ok(terms, `${offer} was not taken`);
    return new Deflating(socket, terms);
  }

  constructor(socket, terms) {
    this.socket = socket;
    this.terms = terms;
    this.clientBits = Number(terms.client_max_window_bits ?? 15);
    this.sent = Buffer.alloc(0);
    this.heard = Buffer.alloc(0);
    socket.inflate = (data) => this.#inflate(data);
  }

  deflate(data, options = {}) {
    const dictionary = !this.terms.client_no_context_takeover && this.sent.length ? this.sent : undefined;
    const whole = deflateRawSync(data, { finishFlush: constants.Z_SYNC_FLUSH, windowBits: Math.max(9, this.clientBits), dictionary, ...options });
    this.sent = Buffer.concat([this.sent, data]).subarray(-32768);
    return whole.subarray(0, whole.length - kTail.length);
  }

  // One message, in fragments of `part`. zlib has no raw window of 8 bits: what may use no larger one goes as it is.
  send(opcode, data, part = 0) {
    const plain = this.clientBits < 9;
    const payload = plain ? Buffer.from(data) : this.deflate(Buffer.from(data));
    const size = part || payload.length || 1;
    for (let at = 0; at === 0 || at < payload.length; at += size)
      this.socket.send(at ? Op.continuation : opcode, payload.subarray(at, at + size), { fin: at + size >= payload.length, rsv: at || plain ? 0 : 4 });
  }

  async echo(opcode, data, part) {
    this.send(opcode, data, part);
    const one = await this.socket.message(kLargeMs);
    assert.ok(one, 'no echo');
    assert.equal(one.opcode, opcode, one.code ? `closed with ${one.code}` : undefined);
    assert.ok(one.data.equals(Buffer.from(data)), 'another echo');
  }

  #inflate(data) {
    const windowBits = Number(this.terms.server_max_window_bits ?? 15);
    const dictionary = !this.terms.server_no_context_takeover && this.heard.length ? this.heard.subarray(-(1 << windowBits)) : undefined;
    const whole = inflateRawSync(Buffer.concat([data, kTail]), { finishFlush: constants.Z_SYNC_FLUSH, windowBits, dictionary });
    this.heard = Buffer.concat([this.heard, whole]).subarray(-32768);
    return whole;
  }
}

const kKinds = {
  'JSON': (size) => Buffer.from(JSON.stringify(Array.from({ length: size / 16 + 1 }, (_, i) => ({ id: i, on: i % 3 === 0 })))).subarray(0, size),
  'text': (size) => Buffer.from('It was a bright cold day in April, and the clocks were striking thirteen. '.repeat(size / 50 + 1)).subarray(0, size),
  'zeros': (size) => Buffer.alloc(size),
  'noise': (size) => randomBytes(size),
};

describe('12 compression of messages', () => {
  const sizes = kLong ? [16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072] : [16, 1024, 16384, 131072];
  for (const [kind, make] of Object.entries(kKinds)) for (const size of sizes) for (const part of size > 256 ? [0, size / 8] : [0]) {
    test(`${kMessages} of ${kind}, ${size} bytes${part ? `, in fragments of ${part}` : ''}`, async () => {
      const client = await Deflating.open();
      const opcode = kind === 'zeros' || kind === 'noise' ? Op.binary : Op.text;
      for (let i = 0; i < kMessages; ++i) await client.echo(opcode, make(size), part);
      client.socket.close();
      assert.equal(await client.socket.closed(), 1000);
    });
  }
});

describe('13 offers', () => {
  const takeover = [[], ['server_no_context_takeover'], ['client_no_context_takeover'], ['server_no_context_takeover', 'client_no_context_takeover']];
  const windows = [[], ['client_max_window_bits'], ...[8, 9, 10, 12, 15].map((bits) => [`server_max_window_bits=${bits}`]), ...[8, 9, 15].map((bits) => [`client_max_window_bits=${bits}`]),
    ['client_max_window_bits="10"', 'server_max_window_bits="10"']];
  for (const context of takeover) for (const bits of windows) {
    const offer = [kDeflate, ...context, ...bits].join('; ');
    test(offer, async () => {
      const client = await Deflating.open(offer);
      for (const name of context.filter((one) => one.startsWith('server'))) assert.ok(client.terms[name], `${name} is not answered`);
      for (const name of ['server', 'client']) {
        const wanted = new RegExp(`${name}_max_window_bits="?(\\d+)`).exec(offer);
        const given = Number(client.terms[`${name}_max_window_bits`] ?? 15);
        if (wanted && name === 'server') assert.ok(given <= Number(wanted[1]), `a window of ${given}`);
      }
      for (const size of kLong ? [16, 1024, 8192, 32768, 131072] : [16, 4096, 131072]) for (const kind of ['JSON', 'text']) for (let i = 0; i < (kLong ? 100 : 2); ++i)
        await client.echo(Op.text, kKinds[kind](size), i % 2 ? 700 : 0);
      client.socket.destroy();
    });
  }

  const bad = ['server_max_window_bits', 'server_max_window_bits=7', 'server_max_window_bits=16', 'server_max_window_bits=08', 'server_max_window_bits=abc', 'client_max_window_bits=7', 'client_max_window_bits=16',
    'server_no_context_takeover=1', 'client_no_context_takeover=true', 'unknown', 'unknown=1', 'server_no_context_takeover; server_no_context_takeover', 'server_max_window_bits=10; server_max_window_bits=11'];
  for (const parameter of bad) {
    test(`declined: ${parameter}; the next offer counts`, async () => {
      const { response, socket } = await RawWebSocket.ask(server.port, '/ws', { extensions: `${kDeflate}; ${parameter}` });
      if (response.status === 101) {
        assert.equal(socket.extensions, '');
        socket.text('plain');
        assert.equal(await socket.string(), 'plain');
      } else {
        assert.equal(response.status, 400);  // some servers refuse it whole
      }
      socket.destroy();
      if (response.status === 101) (await Deflating.open(`${kDeflate}; ${parameter}, ${kDeflate}`)).socket.destroy();
    });
  }
  test('an offer among others, and twice', async () => {
    for (const offer of [`x-other, ${kDeflate}`, `${kDeflate}, x-other;a=b`, `${kDeflate}; client_max_window_bits, ${kDeflate}`, `${kDeflate} ;  client_no_context_takeover`]) {
      const client = await Deflating.open(offer);
      await client.echo(Op.text, kKinds.JSON(4096));
      client.socket.destroy();
    }
  });
});

describe('13 frames', () => {
  const compressed = (payload, options) => text(payload, { rsv: 4, ...options });
  const hello = Buffer.from('f248cdc9c90700', 'hex');  // the RFC's own examples follow
  const extensions = `${kDeflate}; client_no_context_takeover; server_no_context_takeover`;
  const deflated = (name, what) => check(name, { extensions, ...what });
  deflated('Hello', { sends: [compressed(hello)], hears: [said('Hello')] });
  deflated('Hello byte by byte', { sends: [compressed(hello)], hears: [said('Hello')], chop: 1 });
  deflated('Hello in two, a ping between', { sends: [compressed(hello.subarray(0, 3), open), ping('p'), more(hello.subarray(3))], hears: [ponged('p'), said('Hello')] });
  deflated('Hello in frames of a byte and empty ones', { sends: [compressed('', open), ...[...hello].map((byte) => more(Buffer.from([byte]), open)), more('')], hears: [said('Hello')] });
  deflated('Hello in a stored block', { sends: [compressed(Buffer.from('000500faff48656c6c6f00', 'hex'))], hears: [said('Hello')] });
  deflated('Hello in a block marked as the last', { sends: [compressed(Buffer.from('f348cdc9c9070000', 'hex'))], hears: [said('Hello')] });
  deflated('Hello in two blocks', { sends: [compressed(Buffer.from('f248050000 00ffffcac9c90700'.replace(' ', ''), 'hex'))], hears: [said('Hello')] });
  deflated('an empty message, compressed', { sends: [compressed(Buffer.from([0]))], hears: [said('')] });
  deflated('messages that are not compressed, in turn with such that are', { sends: [text('plain'), compressed(hello), text('again')], hears: [said('plain'), said('Hello'), said('again')] });
  deflated('three in one write', { sends: [Buffer.concat([compressed(hello), compressed(hello), compressed(hello)])], hears: [said('Hello'), said('Hello'), said('Hello')] });
  deflated('the bit on a continuation fails', { sends: [compressed(hello.subarray(0, 3), open), more(hello.subarray(3), { rsv: 4 })], fails: [1002] });
  for (const [opcode, name] of [[Op.ping, 'ping'], [Op.pong, 'pong'], [Op.close, 'close']]) deflated(`the bit on a ${name} fails`, { sends: [frame(opcode, opcode === Op.close ? closing(1000) : '', { rsv: 4 })], fails: [1002] });
  for (const rsv of [1, 2, 3, 5, 6, 7]) deflated(`bits ${rsv} fail`, { sends: [text(hello, { rsv })], fails: [1002] });
  deflated('what is not deflated data fails', { sends: [compressed(Buffer.alloc(64, 0xff))], fails: [1007, 1002] });
  deflated('a distance beyond the beginning fails', { sends: [compressed(Buffer.from('02130000', 'hex'))], fails: [1007, 1002] });
  deflated('noise fails', { sends: [compressed(Buffer.from('deadbeefdeadbeef0123456789abcdef', 'hex'))], fails: [1007, 1002] });
  deflated('text that inflates to bad UTF-8 fails', { sends: [compressed(deflateRawSync(Buffer.from('cebaeda080', 'hex'), { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4))], fails: [1007] });
  deflated('binary may inflate to it', { sends: [binary(deflateRawSync(Buffer.from('cebaeda080', 'hex'), { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4), { rsv: 4 })], hears: [bytes(Buffer.from('cebaeda080', 'hex'))] });
  deflated('a bomb is 1009', { sends: [binary(deflateRawSync(Buffer.alloc(256 * kMiB), { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4), { rsv: 4 })], fails: [1009], ms: kLargeMs });
  test('nothing is compressed that was not agreed on', async () => {
    const socket = await RawWebSocket.open(server.port);
    socket.text('a'.repeat(65536));
    const one = await socket.frame();
    assert.equal(one.rsv, 0);
    await sleep(kQuietMs);
    assert.equal(socket.raw.size, 0);
    socket.destroy();
  });
});
