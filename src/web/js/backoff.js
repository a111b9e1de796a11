// How long to wait before attempt number `attempt` (from 0) to come back. The random part keeps the
// clients of a stopped server from returning in one instant.

import { limits } from './limits.js';

export function backoffDelay(attempt, random = Math.random) {
  const grown = limits.backoffBaseMs * 2 ** attempt;
  return Math.min(grown + random() * limits.backoffJitterMs, limits.backoffMaxMs);
}
