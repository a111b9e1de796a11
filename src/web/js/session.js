// Who this browser is: the guest's tokens, kept so that a reload is the same guest.
// The twist: tabs share one storage and refresh tokens are used once. A refresh therefore runs under
// a lock over all tabs, and first looks whether another tab has already put newer tokens there.

import { CommandError } from './errors.js';
import { limits } from './limits.js';

const kStorageKey = 'ringline.session';
const kRefreshLock = 'ringline.refresh';

export class Session {
  #storage;
  #fetch;
  #memory = null; // where storage is forbidden
  #refreshing = null;

  constructor(storage, fetch = (...args) => globalThis.fetch(...args)) {
    this.#storage = storage;
    this.#fetch = fetch;
  }

  get saved() {
    try {
      return JSON.parse(this.#storage.getItem(kStorageKey)) ?? this.#memory;
    } catch {
      return this.#memory;
    }
  }

  get signedIn() {
    return Boolean(this.saved?.refreshToken);
  }

  get name() {
    return this.saved?.name ?? '';
  }

  /** Starts over as a new guest of this name. */
  choose(name) {
    this.#save({ name });
  }

  accept({ accessToken, refreshToken, expiresIn }, user) {
    const expiresAt = Date.now() + expiresIn * 1000;
    this.#save({ accessToken, refreshToken, expiresAt, name: user?.username ?? this.name });
  }

  /** Forgets the tokens, keeps the name for the form. */
  forget() {
    this.#save({ name: this.name });
  }

  /** What `connect` says about who we are; renews tokens that are about to end. */
  async credentials() {
    if (!this.signedIn) return { name: this.name };
    if (Date.now() > this.saved.expiresAt - limits.tokenMarginMs) await this.refresh();
    return { token: this.saved.accessToken };
  }

  refresh() {
    this.#refreshing ??= this.#refreshLocked(this.saved?.accessToken).finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  async signOut() {
    const token = this.saved?.accessToken;
    this.forget();
    if (token) await this.#post('/api/v1/auth/logout', {}, token);
  }

  #refreshLocked(known) {
    const locks = globalThis.navigator?.locks; // missing where the page is not a secure context
    return locks ? locks.request(kRefreshLock, () => this.#renew(known)) : this.#renew(known);
  }

  async #renew(known) {
    const saved = this.saved;
    if (!saved?.refreshToken) {
      throw new CommandError({ code: 'unauthenticated', reason: 'token_missing' });
    }
    if (saved.accessToken !== known) return; // another tab was first
    const answer = await this.#post('/api/v1/auth/refresh', { refreshToken: saved.refreshToken });
    this.accept(answer, answer.user);
  }

  async #post(path, body, token) {
    const headers = { 'Content-Type': 'application/json' };
    if (token) headers.Authorization = `Bearer ${token}`;
    let response;
    try {
      response = await this.#fetch(path, { method: 'POST', headers, body: JSON.stringify(body) });
    } catch {
      throw new CommandError({ code: 'disconnected' });
    }
    if (response.ok) return response.status === 204 ? {} : response.json();
    throw await problem(response);
  }

  #save(session) {
    this.#memory = session;
    try {
      this.#storage.setItem(kStorageKey, JSON.stringify(session));
    } catch {
      // The session then lasts as long as the page; nothing else depends on storage.
    }
  }
}

async function problem(response) {
  const retryAfter = Number(response.headers.get('Retry-After'));
  const retryAfterMs = retryAfter > 0 ? retryAfter * 1000 : undefined;
  const fallback = { code: response.status === 401 ? 'unauthenticated' : 'unavailable' };
  const body = await response.json().catch(() => fallback);
  return new CommandError({ retryAfterMs, ...fallback, ...body });
}
