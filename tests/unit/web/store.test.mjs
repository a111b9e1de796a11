// The store: order, nothing twice, nothing missed, and when it asks to load a room again.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { limits } from '../../../src/web/js/limits.js';
import { Store } from '../../../src/web/js/store.js';
import { ann, bob, created, kRoom, member, message, roomEvent, snapshot } from './support.mjs';

let store;
let stale;
let live;

beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout'] });
  store = new Store();
  store.me = ann;
  stale = [];
  live = [];
  store.on('stale', (roomId, mark) => stale.push([roomId, mark]));
  store.on('message', (roomId, got) => live.push(got.seq));
  store.applySnapshot(snapshot());
});

afterEach(() => mock.timers.reset());

const room = () => store.room(kRoom);
const seqs = () => room().messages.map((held) => held.seq);
const event = (name, data) => store.applyEvent(name, data);

test('a snapshot fills a room, which then can be resumed', () => {
  assert.deepEqual(seqs(), [1, 2, 3]);
  assert.equal(room().members.size, 2);
  assert.deepEqual(store.resumePoints(), { [kRoom]: { seq: 3, epoch: 1 } });
});

test('an event is applied once; a seq that it has is dropped', () => {
  event('message_created', created(4));
  event('message_created', created(4));
  event('message_created', created(2));
  assert.deepEqual(seqs(), [1, 2, 3, 4]);
  assert.deepEqual(live, [4]);
  assert.equal(store.resumePoints()[kRoom].seq, 4);
});

test('unknown room events count for the seq; unknown rooms and events are ignored', () => {
  event('something_new', roomEvent(4, {}));
  event('message_created', created(5));
  event('message_created', { ...created(1), roomId: '999' });
  event('announcement', { text: 'hello' });
  assert.deepEqual(seqs(), [1, 2, 3, 5]);
  assert.deepEqual(stale, []);
});

test('ack before event and event before ack give one message that keeps its clientId', () => {
  store.applySent(message(4, { sender: ann }), 'c4');
  event('message_created', { ...created(4, { sender: ann }), clientId: 'c4' });
  event('message_created', { ...created(5, { sender: ann }), clientId: 'c5' });
  store.applySent(message(5, { sender: ann }), 'c5');
  assert.deepEqual(seqs(), [1, 2, 3, 4, 5]);
  assert.deepEqual(room().messages.slice(3).map((held) => held.clientId), ['c4', 'c5']);
});

test('an ack above what was seen does not hide the events before it', () => {
  store.applySent(message(6, { sender: ann }), 'c6');
  assert.equal(store.resumePoints()[kRoom].seq, 3);
  event('message_created', created(4));
  event('message_created', created(5));
  event('message_created', created(6, { sender: ann }));
  assert.deepEqual(seqs(), [1, 2, 3, 4, 5, 6]);
});

test('the clientId of somebody else is not taken over', () => {
  event('message_created', { ...created(4), clientId: 'mine' });
  assert.equal(room().messages.at(-1).clientId, undefined);
});

test('a pending message stands last and is replaced by its id', () => {
  const pending = { ...message(9, { id: '1500' }), seq: null };
  event('message_created', roomEvent(null, { message: pending }));
  event('message_created', created(4));
  assert.deepEqual(seqs(), [1, 2, 3, 4, null]);
  event('message_created', roomEvent(5, { message: { ...pending, seq: 5 } }));
  assert.deepEqual(seqs(), [1, 2, 3, 4, 5]);
});

test('a hole asks to load the room again; what comes meanwhile waits', () => {
  event('message_created', created(6));
  event('message_created', created(7));
  assert.deepEqual(stale, [[kRoom, { lastSeq: 5, epoch: 1 }]]);
  assert.deepEqual(store.resumePoints(), {});
  store.applyReload(kRoom, { messages: [4, 5, 6].map((seq) => message(seq)), hasBefore: true }, stale[0][1]);
  assert.deepEqual(seqs(), [4, 5, 6, 7]);
  assert.deepEqual(store.resumePoints(), { [kRoom]: { seq: 7, epoch: 1 } });
});

test('room_reset loads again, in the new epoch, without events of the old one', () => {
  event('message_created', created(9));
  event('room_reset', { roomId: kRoom, epoch: 2, lastSeq: 2 });
  assert.deepEqual(stale.at(-1), [kRoom, { lastSeq: 2, epoch: 2 }]);
  event('message_created', { ...created(3, { text: 'new three', id: '7003' }), epoch: 2 });
  store.applyReload(kRoom, { messages: [message(1)], hasBefore: false }, stale.at(-1)[1]);
  assert.deepEqual(seqs(), [1, 3]);
  assert.deepEqual(store.resumePoints(), { [kRoom]: { seq: 3, epoch: 2 } });
});

test('resumed: complete goes on, incomplete loads again', () => {
  store.applyResumed({ rooms: { [kRoom]: { from: 3, to: 5, epoch: 1, complete: true }, 999: {} } });
  assert.equal(store.resumePoints()[kRoom].seq, 5);
  store.applyResumed({ rooms: { [kRoom]: { from: 3, to: 1, epoch: 4, complete: false } } });
  assert.deepEqual(stale, [[kRoom, { lastSeq: 1, epoch: 4 }]]);
});

test('a snapshot of a whole room brings members only; of a stale one everything', () => {
  event('message_created', created(4));
  store.applySnapshot(snapshot({ members: [member(ann)] }));
  assert.deepEqual(seqs(), [1, 2, 3, 4]);
  assert.equal(room().members.size, 1);
  event('room_reset', { roomId: kRoom, epoch: 2, lastSeq: 1 });
  store.applySnapshot(snapshot({ lastSeq: 1, epoch: 2 }));
  assert.deepEqual(seqs(), [1]);
  store.applyReload(kRoom, { messages: [], hasBefore: false }, { lastSeq: 0, epoch: 2 });
  assert.deepEqual(seqs(), [1], 'the late answer is not needed any more');
});

test('what waits is bounded; a lost one becomes a hole', () => {
  event('room_reset', { roomId: kRoom, epoch: 1, lastSeq: 3 });
  for (let seq = 4; seq < 6 + limits.backlogMax; seq++) event('message_created', created(seq));
  store.applyReload(kRoom, { messages: [], hasBefore: false }, { lastSeq: 3, epoch: 1 });
  assert.equal(stale.length, 2);
});

test('older pages go before, without doubles; what is held is bounded', () => {
  store.applyOlder(kRoom, { messages: [0, 1].map((seq) => message(seq)), hasBefore: true });
  assert.deepEqual(seqs(), [0, 1, 2, 3]);
  assert.equal(room().hasBefore, true);
  for (let seq = 4; seq < 4 + limits.messagesHeldMax; seq++) event('message_created', created(seq));
  assert.equal(seqs().length, limits.messagesHeldMax);
  assert.equal(seqs()[0], 4);
});

test('edits and deletions change a message in its place', () => {
  event('message_edited', roomEvent(4, { message: { ...message(2), text: 'better', editedAt: 'now' } }));
  event('message_deleted', roomEvent(5, { messageId: '1003' }));
  event('message_deleted', roomEvent(6, { messageId: '4711' }));
  assert.deepEqual(seqs(), [1, 2, 3]);
  assert.equal(room().messages[1].text, 'better');
  assert.equal(room().messages[2].text, '');
  assert.equal(room().messages[2].deletedAt, 'now');
});

test('members join, leave and change role; presence follows', () => {
  const cy = { id: '3', username: 'Cy', status: 'online' };
  event('member_joined', roomEvent(4, { member: member(cy) }));
  event('role_changed', roomEvent(5, { userId: '3', role: 'admin' }));
  assert.equal(room().info.memberCount, 3);
  assert.equal(room().members.get('3').role, 'admin');
  event('presence_changed', { userId: '3', status: 'offline', lastSeen: 'now' });
  assert.equal(room().members.get('3').online, false);
  event('presence_changed', { userId: '3', status: 'away', lastSeen: 'now' });
  assert.equal(room().members.get('3').online, true);
  event('member_left', roomEvent(6, { userId: '3', reason: 'left' }));
  assert.equal(room().members.has('3'), false);
  assert.equal(room().info.memberCount, 2);
  event('room_updated', roomEvent(7, { room: { name: 'foyer' } }));
  assert.equal(room().info.name, 'foyer');
});

test('typing ends by itself, by its event, and by the message; my own is not shown', () => {
  const typing = { roomId: kRoom, userId: bob.id, username: bob.username };
  event('typing_started', { ...typing, userId: ann.id });
  assert.equal(room().typing.size, 0);
  event('typing_started', typing);
  mock.timers.tick(limits.typingShownMs - 1);
  event('typing_started', typing);
  mock.timers.tick(limits.typingShownMs - 1);
  assert.equal(room().typing.size, 1);
  mock.timers.tick(1);
  assert.equal(room().typing.size, 0);
  event('typing_started', typing);
  event('typing_stopped', typing);
  assert.equal(room().typing.size, 0);
  event('typing_started', typing);
  event('message_created', created(4));
  assert.equal(room().typing.size, 0);
});
