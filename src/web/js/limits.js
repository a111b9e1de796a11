// Every bound and wait of the client, in one place, so that none hides in the code that uses it.

export const limits = Object.freeze({
  // Coming back after a lost connection.
  attemptsMax: 10,
  backoffBaseMs: 1000,
  backoffJitterMs: 1000,
  backoffMaxMs: 30_000,

  // One connection: how long an answer may take, and how many may be awaited.
  readyTimeoutMs: 10_000,
  requestTimeoutMs: 15_000,
  requestsMax: 256,
  heartbeatMs: 25_000,
  heartbeatTimeoutMs: 20_000,
  probeTimeoutMs: 4000,

  // Tokens are renewed this long before they end.
  tokenMarginMs: 30_000,

  // What is held of a room. Events that wait for a room's first page are bounded too: past that the
  // oldest go, which leaves a gap, which makes the room load again.
  historyPage: 50,
  messagesHeldMax: 2000,
  backlogMax: 2000,

  // Sending.
  outboxMax: 200,
  sendRetriesMax: 8,
  sendRetryMs: 1000,
  textCodePointsMax: 4000, // until `ready` says it

  // Typing.
  typingRepeatMs: 3000,
  typingShownMs: 5000,
});
