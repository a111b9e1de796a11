// One WebSocket to `/ws`: frames out, answers matched by id, events in.
// The twist: a link dies once. After `close()` or the socket's end every open request has been
// rejected and nothing is called back any more, so a late frame of an old socket reaches nobody.

import { CommandError } from './errors.js';
import { limits } from './limits.js';

const kSubprotocol = 'ringline.v1';

export class Link {
  #socket;
  #handlers;
  #requests = new Map();
  #nextId = 1;

  /** `handlers`: opened(), event(name, data), closed(code) */
  constructor(url, handlers, openSocket = (to, protocol) => new WebSocket(to, protocol)) {
    this.#handlers = handlers;
    this.#socket = openSocket(url, kSubprotocol);
    this.#socket.onopen = () => this.#handlers?.opened();
    this.#socket.onmessage = (message) => this.#take(message.data);
    this.#socket.onclose = (close) => this.#end(close.code);
  }

  request(cmd, data = {}, timeoutMs = limits.requestTimeoutMs) {
    if (!this.#handlers) return Promise.reject(new CommandError({ code: 'disconnected' }));
    if (this.#requests.size >= limits.requestsMax) {
      return Promise.reject(new CommandError({ code: 'busy' }));
    }
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#requests.delete(id);
        reject(new CommandError({ code: 'timeout' }));
      }, timeoutMs);
      this.#requests.set(id, { resolve, reject, timer });
      this.#socket.send(JSON.stringify({ id, cmd, data }));
    });
  }

  /** For what needs no answer; the server is silent when it succeeds. */
  post(cmd, data = {}) {
    if (this.#handlers) this.#socket.send(JSON.stringify({ cmd, data }));
  }

  /** Ends the link without calling `closed`. */
  close() {
    this.#handlers = null;
    this.#rejectAll();
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
  }

  #end(code) {
    const handlers = this.#handlers;
    this.#handlers = null;
    this.#rejectAll();
    handlers?.closed(code);
  }

  #rejectAll() {
    for (const { reject, timer } of this.#requests.values()) {
      clearTimeout(timer);
      reject(new CommandError({ code: 'disconnected' }));
    }
    this.#requests.clear();
  }

  #take(text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      console.warn('a frame that is not JSON was dropped');
      return;
    }
    if (frame.event !== undefined) {
      this.#handlers?.event(frame.event, frame.data);
      return;
    }
    const request = this.#requests.get(frame.id);
    if (!request) return;
    this.#requests.delete(frame.id);
    clearTimeout(request.timer);
    if (frame.ok) request.resolve(frame.data);
    else request.reject(new CommandError(frame.error));
  }
}
