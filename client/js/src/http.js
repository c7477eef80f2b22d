// Calls over HTTP: the request, the check of the answer, and the retries.

import { RollcallError, unreachable } from './error.js';
import { backoff, unlessAborted, whenAborted } from './retry.js';

const DEADLINE = 30_000; // of a call with its retries
const PATIENCE = 15_000; // with one try
const TRIES = 5;

export class HTTP {
  #url;
  #headers;
  #token;

  constructor(url, { app, key, masterKey, hookKey }, token) {
    this.#url = url;
    this.#token = token;
    try {
      this.#headers = new Headers({
        'X-LC-Id': app,
        ...(key && { 'X-LC-Key': key }),
        ...(hookKey && { 'X-LC-Hook-Key': hookKey }),
        ...(masterKey && { Authorization: `Bearer ${masterKey}` }),
      });
    } catch (cause) {
      throw new RollcallError(0, 'invalid', 'the app id or a key has characters that a header cannot carry', { cause });
    }
  }

  /**
   * Makes a call and retries it while a retry may help. is reports whether an answer has the shape
   * of this call. Every call of this client is safe to repeat.
   */
  async call(method, path, body, is, headers = {}, signal = undefined) {
    const end = Date.now() + DEADLINE;
    let ended = 0; // user tokens of this call that the server refused for their time
    for (let tries = 0; ; tries++) {
      try {
        return await this.#once(method, path, body, is, headers, Math.min(PATIENCE, end - Date.now()), signal);
      } catch (err) {
        if (this.#token && err.code === 'token_expired' && ended++ === 0) continue; // the next one is newer
        const wait = Math.max(backoff(tries), err.retryAfter * 1000);
        if (signal?.aborted || !err.temporary || tries + 1 >= TRIES || Date.now() + wait >= end) throw err;
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }

  async #once(method, path, body, is, headers, patience, signal) {
    const breaker = new AbortController();
    const forget = signal ? whenAborted(signal, () => breaker.abort(new Error('closed'))) : () => {};
    const late = setTimeout(() => breaker.abort(new Error(`no answer within ${Math.round(patience / 1000)} s`)), patience);
    let res;
    let text;
    try {
      res = await this.#fetch(method, path, body, headers, breaker.signal);
      text = await res.text();
    } catch (cause) {
      throw unreachable(`${method} ${path}`, cause);
    } finally {
      clearTimeout(late);
      forget();
    }
    const answer = parse(text);
    if (!res.ok) throw refusal(res, answer);
    if (answer === undefined || !is(answer)) throw foreign(res);
    const age = Number(res.headers.get('Rollcall-Stale'));
    return { answer, age: age > 0 ? age : undefined };
  }

  /** Opens a stream of events. */
  async stream(path, body, signal) {
    let res;
    try {
      res = await this.#fetch('POST', path, body, { Accept: 'text/event-stream' }, signal);
      if (!res.ok) throw refusal(res, parse(await res.text()));
    } catch (cause) {
      throw unreachable(`POST ${path.split('?')[0]}`, cause);
    }
    if (!/^text\/event-stream\b/i.test(res.headers.get('Content-Type') ?? '') || !res.body) throw foreign(res);
    return res.body;
  }

  async #fetch(method, path, body, headers, signal) {
    const all = new Headers(this.#headers);
    const text = this.#token && (await unlessAborted(this.#token.text(), signal));
    if (text) all.set('Authorization', `Bearer ${text}`);
    if (body !== undefined) all.set('Content-Type', 'application/json');
    for (const name in headers) all.set(name, headers[name]);
    // A redirect is not followed: it would carry the keys to another server, and turn a POST into a
    // GET.
    const res = await fetch(this.#url + path, { method, signal, cache: 'no-store', redirect: 'manual', headers: all, body: body && JSON.stringify(body) });
    if (text && res.status === 401) this.#token.refuse(text);
    return res;
  }
}

function parse(text) {
  try {
    const v = JSON.parse(text);
    return v !== null && typeof v === 'object' ? v : undefined;
  } catch {
    return undefined;
  }
}

// The calls below /1.2/ are LeanCloud's and refuse with its numeric codes; the HTTP status maps to
// a code.
const codeOf = { 400: 'invalid', 401: 'unauthorized', 403: 'forbidden', 404: 'not_found', 413: 'too_large', 429: 'rate_limited', 500: 'internal', 503: 'unavailable' };

function refusal(res, answer) {
  const ours = answer && typeof answer.error === 'string' && /^[a-z][a-z_]*$/.test(answer.code);
  const dialect = answer && typeof answer.error === 'string' && typeof answer.code === 'number' && new URL(res.url).pathname.includes('/1.2/rtm/');
  const retryAfter = Math.max(0, Number(res.headers.get('Retry-After')) || 0);
  if (ours) return new RollcallError(res.status, answer.code, answer.error, { retryAfter, limit: answer.limit });
  if (dialect && codeOf[res.status]) return new RollcallError(res.status, codeOf[res.status], answer.error, { retryAfter });
  return foreign(res);
}

function foreign(res) {
  const to = res.headers.get('Location');
  const what = res.type === 'opaqueredirect' || (res.status >= 300 && res.status < 400) ? `a redirect${to ? ` to ${to}` : ''}` : `status ${res.status}`;
  return new RollcallError(res.status, 'not_rollcall', `the answer is ${what} and not from rollcall; check the url and the proxies before the server`);
}
