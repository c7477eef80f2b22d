/**
 * Why a call, a watch or a presence failed. code is one of the server's (docs/api.md), which never change their meaning, or
 * one of two of the client's own:
 *
 * - unreachable: no answer came: no connection, no TLS, or none within the deadline; cause says more.
 * - not_rollcall: the answer is not rollcall's: a proxy's page, a redirect, or half an answer.
 */
export class RollcallError extends Error {
  constructor(status, code, text, { retryAfter = 0, limit, cause } = {}) {
    super(`${text} (${code})`, cause === undefined ? undefined : { cause });
    this.name = 'RollcallError';
    this.status = status; // of HTTP; 0 when there is none
    this.code = code;
    this.retryAfter = retryAfter; // seconds
    if (limit !== undefined) this.limit = limit;
  }

  /** Whether a retry may help. Only an answer of rollcall itself is final. */
  get temporary() {
    return this.code === 'unreachable' || this.code === 'not_rollcall' || this.status >= 500 || this.status === 429 || this.status === 408;
  }
}

/** The error for what did not bring an answer. */
export function unreachable(doing, cause) {
  if (cause instanceof RollcallError) return cause;
  const why = cause?.cause?.message || cause?.message || String(cause);
  return new RollcallError(0, 'unreachable', `${doing}: ${why}`, { cause });
}

const socketStatus = { unavailable: 503, full: 503, shutting_down: 503, internal: 500, too_many_watchers: 503, rate_limited: 429 };

/** The error for a refusal on a socket. */
export function refusedOnSocket(m) {
  return new RollcallError(socketStatus[m.code] ?? 400, String(m.code), String(m.error), { retryAfter: m.retry_after, limit: m.limit });
}
