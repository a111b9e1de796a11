// What a person is told. Kept apart from the code, so that the wording can be read at one glance
// and translated later.

import { State } from './connection.js';

const kErrors = {
  invalid: 'The server did not accept this.',
  unauthenticated: 'You are not signed in any more.',
  forbidden: 'You are not allowed to do this.',
  not_found: 'This is not there any more.',
  conflict: 'Somebody else was first.',
  too_large: 'This is too long.',
  rate_limited: 'That was a lot at once.',
  unavailable: 'The server cannot do this right now.',
  internal: 'Something went wrong on the server.',
  disconnected: 'There is no connection to the server.',
  timeout: 'The server did not answer.',
  busy: 'Too much is waiting for an answer.',
};

const kSignedOut = {
  session_ended: 'Your session has ended. Choose a name to come back as a new guest.',
  token_expired: 'You were away for a while. Choose a name to come back as a new guest.',
  token_invalid: 'You were away for a while. Choose a name to come back as a new guest.',
  banned: 'You have been banned from this server.',
};

const kSentAway = {
  4502: 'The server has closed your connection because of too much traffic, or a ban.',
  4503: 'You have too many windows open here. Close one, then try again.',
};

export function explain(error) {
  const fields = Object.values(error.fields ?? {});
  if (error.code === 'invalid' && fields.length > 0) return fields.join(' ');
  return kErrors[error.code] ?? 'Something went wrong.';
}

export function explainSignedOut(error) {
  if (error.code === 'forbidden') return 'This server does not take guests.';
  return kSignedOut[error.reason] ?? explain(error);
}

export function seconds(untilMs) {
  return Math.max(1, Math.ceil((untilMs - Date.now()) / 1000));
}

export const kStateWords = {
  [State.DISCONNECTED]: 'Offline',
  [State.CONNECTING]: 'Connecting',
  [State.CONNECTED]: 'Connected',
  [State.RECONNECTING]: 'Reconnecting',
  [State.FAILED]: 'Not connected',
};

/** The sentence of the banner, without its countdown; empty when there is nothing to say. */
export function explainState({ state, error, draining, attempt }) {
  if (state === State.FAILED) {
    return kSentAway[error.reason] ?? 'The server could not be reached.';
  }
  if (state !== State.RECONNECTING) return '';
  if (draining) return 'The server is restarting.';
  if (error?.code === 'rate_limited') return 'The server asks for a little patience.';
  if (attempt === undefined) return 'Reconnecting…';
  return 'The connection was lost. What you write is kept and sent later.';
}

export function typingWords(names) {
  if (names.length === 0) return '';
  if (names.length === 1) return `${names[0]} is typing…`;
  if (names.length === 2) return `${names[0]} and ${names[1]} are typing…`;
  return 'Several people are typing…';
}

export function presenceWords({ online, user }) {
  if (!online) return 'offline';
  return user.status === 'away' || user.status === 'busy' ? user.status : 'online';
}
