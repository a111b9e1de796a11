// Socket.IO 5 to the letter, by hand on the conformance server: every case over WebSocket and over polling with a new connection for each request, on one
// core and on two. What is expected is what the reference server does.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { kPingInterval, kPingTimeout, startConformance } from './conformance.mjs';
import { OverPolling, OverWebSocket } from './socketio_wire.mjs';

const kConnectMs = 1000;

async function connected(wire, namespace = '', payload = '') {
  await wire.send(`0${namespace ? `${namespace},` : ''}${payload}`);
  const answer = await wire.next();
  const head = `0${namespace ? `${namespace},` : ''}`;
  assert.ok(answer?.startsWith(`${head}{`), answer);
  const handshake = JSON.parse(answer.slice(head.length));
  assert.deepEqual(Object.keys(handshake), ['sid']);
  assert.match(handshake.sid, /^[A-Za-z0-9_-]{8,}$/);
  assert.equal(await wire.next(), `2${namespace ? `${namespace},` : ''}["auth",${payload || '{}'}]`);
  return wire;
}

// Long texts are not shown where they differ.
const same = (text, expected) => assert.ok(text === expected, `${String(text).slice(0, 200)} instead of ${expected.slice(0, 200)}`);

const holder = (num) => `{"_placeholder":true,"num":${num}}`;
const one = Buffer.from([1, 2, 3]);
const two = Buffer.from([4, 5, 6, 0xff]);

for (const cores of [1, 2]) for (const Wire of [OverWebSocket, OverPolling]) {
  describe(`Socket.IO by hand, ${Wire === OverPolling ? 'polling' : 'WebSocket'}, ${cores} core${cores > 1 ? 's' : ''}`, () => {
    let server;
    before(async () => { server = await startConformance({ cores, connectTimeout: kConnectMs }); });
    after(() => server?.stop());
    const wires = [];
    const start = async () => (wires.push(await Wire.open(server)), wires.at(-1));
    const enter = async (namespace, payload) => connected(await start(), namespace, payload);
    after(() => { for (const wire of wires) wire.leave(); });

    connects(start, enter);
    events(start, enter);
    attachments(enter);
    rubbish(start, enter);
  });
}

function connects(start, enter) {
  for (const namespace of ['', '/custom']) for (const payload of ['', '{"token":"123"}', '{"z":1,"a":[1,{"b":null}],"ü":"€"}']) {
    test(`CONNECT to ${namespace || '/'} ${payload ? `with ${payload}` : 'without a payload'}`, () => enter(namespace, payload));
  }

  test('CONNECT to a namespace without a comma behind it', async () => {
    const wire = await start();
    await wire.send('0/custom');
    assert.match(await wire.next(), /^0\/custom,{"sid":"[^"]+"}$/);
    assert.equal(await wire.next(), '2/custom,["auth",{}]');
  });

  test('CONNECT to an unknown namespace is refused, and the connection stays', async () => {
    const wire = await start();
    for (const name of ['/random', '/custo', '/custom2']) {
      await wire.send(`0${name},`);
      assert.equal(await wire.next(), `4${name},{"message":"Invalid namespace"}`);
    }
    await connected(wire);
  });

  test('CONNECT that a namespace refuses says why, and the connection stays', async () => {
    const wire = await start();
    for (const payload of ['', '{"token":"wrong"}']) {
      await wire.send(`0/private,${payload}`);
      assert.equal(await wire.next(), '4/private,{"message":"unauthorized","data":{"code":401}}');
    }
    await connected(wire, '/private', '{"token":"secret"}');
  });

  test('several namespaces on one connection, each with its own id', async () => {
    const wire = await start();
    await wire.send('0', '0/custom,');
    const answers = [];
    for (let i = 0; i < 4; ++i) answers.push(await wire.next());
    const sids = answers.filter((text) => text.includes('sid')).map((text) => JSON.parse(text.slice(text.indexOf('{'))).sid);
    assert.equal(new Set(sids).size, 2);
    await wire.send('2/custom,["message","to custom"]', '2["message","to main"]');
    assert.equal(await wire.next(), '2/custom,["message-back","to custom"]');
    assert.equal(await wire.next(), '2["message-back","to main"]');
  });

  test('no CONNECT within the time: closed, not before', async () => {
    const wire = await start();
    const since = performance.now();
    assert.equal(await wire.next(), null);  // answers pings meanwhile
    const ms = performance.now() - since;
    assert.ok(ms > kConnectMs * 0.9 && ms < kConnectMs + 300, `${ms} ms`);
  });

  test('a refused CONNECT does not count: closed in time', async () => {
    const wire = await start();
    await wire.send('0/random,');
    assert.match(await wire.next(), /^4\/random/);
    assert.equal(await wire.next(), null);
  });

  test('DISCONNECT leaves the namespace, the transport stays, and one may come back', async () => {
    const wire = await enter();
    await wire.send('1');
    assert.equal(await wire.ping(), '2');
    if (wire.session) await wire.session.send('3');
    else wire.socket.text('3');
    await connected(wire, '', '{"again":true}');
  });

  test('DISCONNECT from one namespace leaves the others', async () => {
    const wire = await enter();
    await connected(wire, '/custom');
    await wire.send('1/custom,', '2["message","to main"]');
    assert.equal(await wire.next(), '2["message-back","to main"]');
    await connected(wire, '/custom');
  });

  test('a close packet ends it', async () => {
    const wire = await enter();
    if (wire.session) await wire.session.send('1');
    else wire.socket.text('1');
    assert.ok(await wire.ended(kPingInterval + kPingTimeout + 200));
  });
}

function events(start, enter) {
  const payloads = ['', '1', '1,"2",{"3":[true]}', 'null,true,false', '[],{},""', '9007199254740991,-9007199254740991,0', '1.5,-0.25', '"ü€😀"', '"quote \\" backslash \\\\ newline \\n"',
    '{"a":{"b":{"c":[1,[2,[3]]]}}}', '{"z":1,"a":2,"":3}', '"{\\"not\\":\\"json\\"}"', '"4","42","b64"', `"${'x'.repeat(100_000)}"`, `${'['.repeat(30)}${']'.repeat(30)}`];
  for (const payload of payloads) {
    const shown = payload.length > 60 ? `${payload.length} characters` : payload || 'nothing';
    const rest = payload ? `,${payload}` : '';
    test(`an event with ${shown} comes back letter for letter, and so does its ack`, async () => {
      const wire = await enter();
      await wire.send(`2["message"${rest}]`);
      same(await wire.next(), `2["message-back"${rest}]`);
      await wire.send(`2456["message-with-ack"${rest}]`);
      same(await wire.next(), `3456[${payload}]`);
    });
  }

  test('nesting without end closes at once and costs nobody else anything', async () => {
    const bystander = await enter();
    for (const depth of [33, 1000, 150_000]) {
      const wire = await enter();
      await wire.send(`2["message",${'['.repeat(depth)}${']'.repeat(depth)}]`);
      assert.ok(await wire.ended(), `${depth}`);
    }
    await bystander.send('2["message","on"]');
    assert.equal(await bystander.next(), '2["message-back","on"]');
  });

  test('acks keep their ids, in any namespace and order', async () => {
    const wire = await enter();
    await connected(wire, '/custom');
    await wire.send('20["message-with-ack",1]', '2/custom,7["message-with-ack",2]', '2999999["message-with-ack"]');
    assert.equal(await wire.next(), '30[1]');
    assert.equal(await wire.next(), '3/custom,7[2]');
    assert.equal(await wire.next(), '3999999[]');
  });

  test('an event that nobody listens to, and an ack that nobody asked for, are ignored', async () => {
    const wire = await enter();
    await wire.send('2["nobody-listens",1]', '31234[1]', '2["message","on"]');
    assert.equal(await wire.next(), '2["message-back","on"]');
  });

  test('an ack asked of the client', async () => {
    const wire = await enter();
    await wire.send('2["ask","how","much"]');
    const question = /^2(\d+)\["question","how","much"\]$/.exec(await wire.next());
    assert.ok(question);
    await wire.send(`3${question[1]}["so much"]`);
    assert.equal(await wire.next(), '2["answer","so much"]');
    await wire.send(`3${question[1]}["twice"]`, '2["message","on"]');
    assert.equal(await wire.next(), '2["message-back","on"]', 'the second answer is not heard');
  });

  test('kick: a DISCONNECT packet, and the transport stays; kick-hard: it closes', async () => {
    const wire = await enter();
    await connected(wire, '/custom');
    await wire.send('2["kick"]');
    assert.equal(await wire.next(), '1');
    await wire.send('2/custom,["message","on"]');
    assert.equal(await wire.next(), '2/custom,["message-back","on"]');
    await wire.send('2/custom,["kick-hard"]');
    assert.ok(await wire.ended());
  });
}

function attachments(enter) {
  const cases = [
    ['one', '51-["message",P0]', [one], '51-["message-back",P0]'],
    ['two', '52-["message",P0,P1]', [one, two], '52-["message-back",P0,P1]'],
    ['nested', '52-["message",{"a":[P0],"b":{"c":P1}}]', [one, two], '52-["message-back",{"a":[P0],"b":{"c":P1}}]'],
    ['an empty one', '51-["message",P0]', [Buffer.alloc(0)], '51-["message-back",P0]'],
    ['a large one', '51-["message",P0]', [Buffer.alloc(200_000, 7)], '51-["message-back",P0]'],
    ['in a namespace', '51-/custom,["message",P0]', [one], '51-/custom,["message-back",P0]'],
    ['with an ack', '52-789["message-with-ack",P0,P1]', [one, two], '62-789[P0,P1]'],
    ['with an ack in a namespace', '51-/custom,12["message-with-ack",P0,"x"]', [one], '61-/custom,12[P0,"x"]'],
  ];
  const fill = (text) => text.replace(/P(\d)/g, (_, num) => holder(num)).slice(1);
  for (const [name, sent, buffers, heard] of cases) {
    test(`attachments: ${name}`, async () => {
      const wire = await enter();
      if (sent.includes('/custom')) await connected(wire, '/custom');
      await wire.send(`5${fill(sent)}`, ...buffers);
      assert.equal(await wire.next(), heard[0] + fill(heard));
      for (const buffer of buffers) assert.ok(buffer.equals(await wire.next()));
    });
  }

  test('attachments named in another order arrive where they belong', async () => {
    const wire = await enter();
    await wire.send(`52-["message",${holder(1)},${holder(0)}]`, one, two);
    const { 1: count, 2: json } = /^5(\d)-(.*)$/.exec(await wire.next());
    assert.equal(count, '2');
    const heard = [await wire.next(), await wire.next()];
    assert.deepEqual(JSON.parse(json).slice(1).map(({ num }) => heard[num]), [two, one]);
  });

  test('an ack asked of the client may bring attachments', async () => {
    const wire = await enter();
    await wire.send('2["ask"]');
    const id = /^2(\d+)\["question"\]$/.exec(await wire.next())[1];
    await wire.send(`61-${id}[${holder(0)}]`, two);
    assert.equal(await wire.next(), `51-["answer",${holder(0)}]`);
    assert.ok(two.equals(await wire.next()));
  });

  test('attachments that come in pieces of time', async () => {
    const wire = await enter();
    await wire.send(`52-["message",${holder(0)},${holder(1)}]`);
    await sleep(50);
    await wire.send(one);
    await sleep(50);
    await wire.send(two);
    assert.equal(await wire.next(), `52-["message-back",${holder(0)},${holder(1)}]`);
    assert.ok(one.equals(await wire.next()));
    assert.ok(two.equals(await wire.next()));
  });

  const wrong = [
    ['text where an attachment is due', [`51-["message",${holder(0)}]`, '2["message"]']],
    ['binary that nobody announced', [one]],
    ['binary behind the last attachment', [`51-["message",${holder(0)}]`, one, two]],
    ['a placeholder that there is no attachment for', [`51-["message",${holder(5)}]`, one]],
    ['a placeholder below nought', [`51-["message",${holder(-1)}]`, one]],
    ['no count', ['5["message"]']], ['a count without a dash', ['51["message"]']], ['a count that is no number', ['5x-["message"]']], ['a count below nought', ['5-1-["message"]']],
  ];
  for (const [name, packets] of wrong) test(`closed: ${name}`, async () => {
    const wire = await enter();
    await wire.send(...packets);
    assert.ok(await wire.ended());
  });
}

function rubbish(start, enter) {
  for (const packet of ['abc', '7', '9', '2{}', '2[]', '2[{}]', '2null', '2"x"', '2["x"', '2["x"]trailing', '2["x",]', '2abc["x"]', '2["connect"]', '2["disconnect"]', '2["connect_error"]', '3["x"]x', '31{}', '31"x"',
    '0', '0{"again":true}', '1{"x":1}', '4{"message":"from a client"}', '2/custom,["message","not in it"]', '2/nowhere,["x"]', '\u0000', '2["\u0001"]', '2["\ud800"]'.replace('\ud800', '\\uD8'), '-1', ' 2["x"]']) {
    test(`closed at once: ${JSON.stringify(packet)}`, async () => {
      const wire = await enter();
      await wire.send(packet);
      assert.ok(await wire.ended());
    });
  }
  for (const packet of ['abc', '2["message","first"]', '1', '3', '0"text"', '0[1]', '0{"a":']) {
    test(`closed before CONNECT: ${JSON.stringify(packet)}`, async () => {
      const wire = await start();
      await wire.send(packet);
      assert.ok(await wire.ended());
    });
  }
}
