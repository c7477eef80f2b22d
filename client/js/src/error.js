/**
 * The error of a call, a watch or a presence. code is a code of the server (docs/api.md), whose
 * meaning never changes, or one of two codes of the client:
 *
 * - unreachable: no connection, no TLS, or no answer within the deadline; cause holds the error
 *   below.
 * - not_rollcall: another program answered: a proxy's page, a redirect, or half an answer.
 */
export class RollcallError extends Error {
  constructor(status, code, text, { retryAfter = 0, limit, cause } = {}) {
    super(`${text} (${code})`, cause === undefined ? undefined : { cause });
    this.name = 'RollcallError';
    this.status = status; // of HTTP; 0 without an answer
    this.code = code;
    this.retryAfter = retryAfter; // seconds
    if (limit !== undefined) this.limit = limit;
  }

  /** Whether a retry may help. Only a refusal by rollcall itself is final. */
  get temporary() {
    return this.code === 'unreachable' || this.code === 'not_rollcall' || this.status >= 500 || this.status === 429 || this.status === 408;
  }
}

/** The error of a call without an answer. */
export function unreachable(doing, cause) {
  if (cause instanceof RollcallError) return cause;
  const why = cause?.cause?.message || cause?.message || String(cause);
  return new RollcallError(0, 'unreachable', `${doing}: ${why}`, { cause });
}

const socketStatus = { unavailable: 503, full: 503, shutting_down: 503, internal: 500, too_many_watchers: 503, rate_limited: 429 };

/** The error of a refusal on a socket. */
export function refusedOnSocket(m) {
  return new RollcallError(socketStatus[m.code] ?? 400, String(m.code), String(m.error), { retryAfter: m.retry_after, limit: m.limit });
}
