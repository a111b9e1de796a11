// The client's picture of the server: who I am, the rooms, and every event applied to them.
// The twist: events may come twice (after resume) or before a room's first page. What is already
// seen is dropped by its seq; what comes early waits in the room; a hole in the seqs makes the room
// `stale`, which asks the owner to load it again. Nothing here touches the page or the wire.

import { Emitter } from './emitter.js';
import { limits } from './limits.js';
import { Room } from './room.js';

/** Emits `change` (roomId), `message` (roomId, message) for live ones, `stale` (roomId, mark). */
export class Store extends Emitter {
  me = null;
  rooms = new Map();

  room(id) {
    return this.rooms.get(id);
  }

  clear() {
    for (const room of this.rooms.values()) this.#clearTyping(room);
    this.rooms.clear();
    this.me = null;
  }

  /** For `resume`: only rooms whose first page is there have something to go on from. */
  resumePoints() {
    const points = {};
    for (const [id, room] of this.rooms) {
      if (room.loaded) points[id] = { seq: room.lastSeq, epoch: room.epoch };
    }
    return points;
  }

  /** The answer of `join`: members always, messages unless resume has kept them whole. */
  applySnapshot({ room: info, members, messages }) {
    const room = this.#ensure(info.id);
    room.info = info;
    room.setMembers(members);
    if (!room.loaded) {
      room.replace(messages, messages.length >= limits.historyPage, info.lastSeq, info.epoch);
      this.#release(room);
    }
    this.emit('change', info.id);
  }

  /** The page that a stale room waited for. A snapshot may have come first: then it is not needed. */
  applyReload(roomId, page, { lastSeq, epoch }) {
    const room = this.room(roomId);
    if (!room || room.loaded) return;
    room.replace(page.messages, page.hasBefore, lastSeq, epoch);
    this.#release(room);
    this.emit('change', roomId);
  }

  applyOlder(roomId, page) {
    this.room(roomId)?.prepend(page);
    this.emit('change', roomId);
  }

  /** `resumed`: rooms that could not be continued are named to the owner. */
  applyResumed({ rooms }) {
    for (const [id, { to, epoch, complete }] of Object.entries(rooms)) {
      const room = this.room(id);
      if (!room) continue;
      if (complete) room.lastSeq = Math.max(room.lastSeq, to);
      else this.#stale(id, { lastSeq: to, epoch });
    }
  }

  /** My own message, from the ack of its sending. Its event may come earlier or later. */
  applySent(message, clientId) {
    const room = this.room(message.roomId);
    if (!room?.loaded) return; // the page under way holds it
    room.put(message, clientId);
    this.emit('change', message.roomId);
  }

  applyEvent(name, data) {
    if (name === 'presence_changed') this.#presence(data);
    const room = this.room(data?.roomId);
    if (!room) return;
    if (name === 'room_reset') {
      this.#stale(data.roomId, { lastSeq: data.lastSeq, epoch: data.epoch });
    } else if (name === 'typing_started') {
      this.#typingStarted(room, data);
    } else if (name === 'typing_stopped') {
      this.#typingStopped(room, data.userId);
    } else if (data.seq !== undefined) {
      this.#roomEvent(room, name, data);
    }
  }

  #roomEvent(room, name, data) {
    if (!room.loaded) {
      room.hold(name, data);
      return;
    }
    if (data.seq !== null) {
      if (data.seq <= room.lastSeq) return;
      if (data.seq > room.lastSeq + 1) {
        this.#stale(room.info.id, { lastSeq: data.seq - 1, epoch: data.epoch });
        room.hold(name, data);
        return;
      }
      room.lastSeq = data.seq;
    }
    if (name === 'message_created') this.#messageCreated(room, data);
    else kRoomEvents[name]?.(room, data);
    this.emit('change', room.info.id);
  }

  /** A clientId means something only to its sender; two people may have chosen the same. */
  #messageCreated(room, { message, clientId }) {
    const own = message.sender.id === this.me?.id;
    room.put(message, own ? clientId : undefined);
    room.trim(limits.messagesHeldMax);
    this.#typingStopped(room, message.sender.id);
    this.emit('message', room.info.id, message, own ? clientId : undefined);
  }

  #presence({ userId, status, lastSeen }) {
    for (const [id, room] of this.rooms) {
      const member = room.members.get(userId);
      if (!member) continue;
      member.online = status !== 'offline';
      member.user = { ...member.user, status, lastSeen };
      this.emit('change', id);
    }
  }

  #typingStarted(room, { userId, username }) {
    if (userId === this.me?.id) return;
    clearTimeout(room.typing.get(userId)?.timer);
    const timer = setTimeout(() => this.#typingStopped(room, userId), limits.typingShownMs);
    room.typing.set(userId, { username, timer });
    this.emit('change', room.info.id);
  }

  #typingStopped(room, userId) {
    const typing = room.typing.get(userId);
    if (!typing) return;
    clearTimeout(typing.timer);
    room.typing.delete(userId);
    this.emit('change', room.info.id);
  }

  #clearTyping(room) {
    for (const { timer } of room.typing.values()) clearTimeout(timer);
    room.typing.clear();
  }

  /** Events wait from here on; those that waited already belong to what is given up. */
  #stale(roomId, mark) {
    this.room(roomId).backlog = [];
    this.emit('stale', roomId, mark);
  }

  #release(room) {
    const waiting = room.backlog ?? [];
    room.backlog = null;
    for (const [name, data] of waiting) this.#roomEvent(room, name, data);
  }

  #ensure(id) {
    if (!this.rooms.has(id)) this.rooms.set(id, new Room(id));
    return this.rooms.get(id);
  }
}

// What each other room event does. One that is not named here still counts for the room's seq.
const kRoomEvents = {
  message_edited: (room, { message }) => room.patch(message.id, message),
  message_deleted: (room, { messageId, at }) =>
    room.patch(messageId, { text: '', deletedAt: at }),
  room_updated: (room, { room: info }) => {
    room.info = { ...room.info, ...info };
  },
  member_joined: (room, { member }) => {
    if (!room.members.has(member.user.id)) room.info.memberCount++;
    room.members.set(member.user.id, member);
  },
  member_left: (room, { userId }) => {
    room.info.memberCount = Math.max(0, room.info.memberCount - 1);
    room.members.delete(userId);
  },
  role_changed: (room, { userId, role }) => {
    const member = room.members.get(userId);
    if (member) member.role = role;
  },
};
