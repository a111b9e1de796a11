// The connection as a person sees it: there, coming, lost, given up. It owns at most one link and
// at most one timer for the next attempt; every change of state goes through `#enter`.
//
// Transitions:
//   DISCONNECTED -open-> CONNECTING -ready-> CONNECTED -lost-> RECONNECTING -ready-> CONNECTED
//   CONNECTING, RECONNECTING -attempts used up-> FAILED -retry-> CONNECTING
//   any -refused for good (4502, 4503…)-> FAILED; -signed out (4500, 4501…)-> DISCONNECTED

import { backoffDelay } from './backoff.js';
import { Emitter } from './emitter.js';
import { CommandError } from './errors.js';
import { limits } from './limits.js';
import { Link } from './link.js';

export const State = Object.freeze({
  DISCONNECTED: 'DISCONNECTED', // nobody wants to be connected
  CONNECTING: 'CONNECTING', // the first attempt since open() or retry()
  CONNECTED: 'CONNECTED', // `ready` has come
  RECONNECTING: 'RECONNECTING', // lost; the next attempt waits for its time or is under way
  FAILED: 'FAILED', // gave up or was sent away; only a person (or a returning network) goes on
});

const kTokenExpired = 4001;
const kTokenInvalid = 4500;
const kSessionEnded = 4501;
const staysAway = (code) => code >= 4500 && code <= 4999;

/**
 * Emits `state` (the object of `status`), `ready` (data), `event` (name, data) and `signedOut`
 * (CommandError) when the server no longer knows us, so that a name must be chosen again.
 */
export class Connection extends Emitter {
  status = { state: State.DISCONNECTED };
  #url;
  #session;
  #resumePoints;
  #openSocket;
  #random;
  #link = null;
  #attempt = 0;
  #dialNumber = 0; // a dial that awaits tokens finds out by it that it has been overtaken
  #timer = null;
  #readyTimer = null;
  #heartbeat = null;
  #refreshFirst = false;
  #refreshTried = false;
  #returnAt = null; // what a draining server asked for

  constructor({ url, session, resumePoints, openSocket, random = Math.random }) {
    super();
    this.#url = url;
    this.#session = session;
    this.#resumePoints = resumePoints;
    this.#openSocket = openSocket;
    this.#random = random;
  }

  get connected() {
    return this.status.state === State.CONNECTED;
  }

  open() {
    this.#attempt = 0;
    this.#refreshFirst = this.#refreshTried = false;
    this.#enter(State.CONNECTING);
    this.#dial();
  }

  close() {
    this.#stop();
    this.#enter(State.DISCONNECTED);
  }

  /** A person asks: now, and with all attempts again. */
  retry() {
    if (this.status.state === State.FAILED) return this.open();
    if (this.status.state !== State.RECONNECTING || !this.status.retryAt) return undefined;
    this.#attempt = 0;
    return this.#dial();
  }

  /** The network came back, or the page to the front: find out now, not by the next heartbeat. */
  probe() {
    if (this.connected) this.#ping(limits.probeTimeoutMs);
    else if (this.status.state !== State.FAILED || this.status.error.code === 'disconnected') {
      this.retry();
    }
  }

  request(cmd, data, timeoutMs) {
    if (!this.connected) return Promise.reject(new CommandError({ code: 'disconnected' }));
    return this.#link.request(cmd, data, timeoutMs);
  }

  post(cmd, data) {
    if (this.connected) this.#link.post(cmd, data);
  }

  #enter(state, more = {}) {
    this.status = { state, ...more };
    this.emit('state', this.status);
  }

  #stop() {
    this.#dialNumber++;
    clearTimeout(this.#timer);
    clearTimeout(this.#readyTimer);
    clearInterval(this.#heartbeat);
    this.#link?.close();
    this.#link = null;
  }

  async #dial() {
    this.#stop();
    const dial = this.#dialNumber;
    if (this.status.state === State.RECONNECTING) this.#enter(State.RECONNECTING);
    let who;
    try {
      if (this.#refreshFirst) {
        this.#refreshTried = true;
        await this.#session.refresh();
      }
      who = await this.#session.credentials();
    } catch (error) {
      if (dial === this.#dialNumber) this.#refused(error);
      return;
    }
    if (dial !== this.#dialNumber) return;
    this.#refreshFirst = false;
    this.#readyTimer = setTimeout(() => this.#lost(), limits.readyTimeoutMs);
    this.#link = new Link(
      this.#url,
      {
        opened: () => this.#introduce(who),
        event: (name, data) => this.#onEvent(name, data),
        closed: (code) => this.#onClosed(code),
      },
      this.#openSocket,
    );
  }

  #introduce(who) {
    const resume = this.#resumePoints();
    const data = Object.keys(resume).length > 0 ? { ...who, resume } : who;
    const link = this.#link;
    link.request('connect', data).catch((error) => {
      if (link === this.#link && error.code !== 'disconnected') this.#refused(error);
    });
  }

  #onEvent(name, data) {
    if (name === 'ready') this.#onReady(data);
    else if (name === 'server_draining') this.#returnAt = Date.now() + data.reconnectAfterMs;
    else if (name === 'token_expiring') this.#renewToken();
    this.emit('event', name, data);
  }

  #onReady(ready) {
    clearTimeout(this.#readyTimer);
    this.#attempt = 0;
    this.#refreshTried = false;
    this.#returnAt = null;
    if (ready.tokens) this.#session.accept(ready.tokens, ready.user);
    this.#heartbeat = setInterval(() => this.#ping(), limits.heartbeatMs);
    this.#enter(State.CONNECTED);
    this.emit('ready', ready);
  }

  #ping(timeoutMs = limits.heartbeatTimeoutMs) {
    const link = this.#link;
    link.request('ping', {}, timeoutMs).catch((error) => {
      if (link === this.#link && error.code === 'timeout') this.#lost();
    });
  }

  async #renewToken() {
    const link = this.#link;
    try {
      await this.#session.refresh();
      await link.request('refresh_token', { token: this.#session.saved.accessToken });
    } catch {
      // The server will close with 4001, which refreshes again before it comes back.
    }
  }

  #onClosed(code) {
    if (code === kTokenInvalid || code === kSessionEnded) {
      const reason = code === kTokenInvalid ? 'token_invalid' : 'session_ended';
      this.#signOut(new CommandError({ code: 'unauthenticated', reason }));
    } else if (staysAway(code)) {
      this.#giveUp(new CommandError({ code: 'sent_away', reason: String(code) }));
    } else {
      this.#refreshFirst = code === kTokenExpired;
      this.#lost();
    }
  }

  /** An attempt was answered with an error, or its tokens could not be renewed. */
  #refused(error) {
    if (error.code === 'unauthenticated') {
      if (this.#mayRefresh(error)) {
        this.#refreshFirst = true;
        this.#dial();
        return;
      }
      this.#signOut(error);
    } else if (!this.#session.signedIn && (error.code === 'invalid' || error.code === 'forbidden')) {
      this.#signOut(error); // of the name; tokens are never given up for less than `unauthenticated`
    } else {
      this.#lost(error);
    }
  }

  #mayRefresh(error) {
    const worthIt = error.reason === 'token_expired' || error.reason === 'token_invalid';
    return worthIt && !this.#refreshTried && this.#session.signedIn;
  }

  #signOut(error) {
    this.#stop();
    this.#session.forget();
    this.#enter(State.DISCONNECTED);
    this.emit('signedOut', error);
  }

  #giveUp(error) {
    this.#stop();
    this.#enter(State.FAILED, { error });
  }

  #lost(error = new CommandError({ code: 'disconnected' })) {
    this.#stop();
    if (this.#attempt >= limits.attemptsMax) {
      this.#giveUp(error);
      return;
    }
    const delay = this.#delay(error);
    this.#attempt++;
    this.#timer = setTimeout(() => this.#dial(), delay);
    const draining = this.#returnAt !== null;
    this.#returnAt = null;
    this.#enter(State.RECONNECTING, {
      retryAt: Date.now() + delay,
      attempt: this.#attempt,
      draining,
      error,
    });
  }

  #delay(error) {
    if (this.#refreshFirst && !this.#refreshTried) return 0;
    const usual = backoffDelay(this.#attempt, this.#random);
    if (this.#returnAt !== null) {
      const jitter = this.#random() * limits.backoffJitterMs;
      return Math.max(0, this.#returnAt - Date.now()) + jitter;
    }
    return error.retryAfterMs ? Math.max(usual, error.retryAfterMs) : usual;
  }
}
