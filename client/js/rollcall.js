// A client of rollcall for browsers and Node 20 and newer, in one file that a page can load as it is. It depends on nothing.
//
// Code generated from src/ by "go test ./client/conformance -run TestOneFile -update". DO NOT EDIT.

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
function unreachable(doing, cause) {
  if (cause instanceof RollcallError) return cause;
  const why = cause?.cause?.message || cause?.message || String(cause);
  return new RollcallError(0, 'unreachable', `${doing}: ${why}`, { cause });
}

const socketStatus = { unavailable: 503, full: 503, shutting_down: 503, internal: 500, too_many_watchers: 503, rate_limited: 429 };

/** The error of a refusal on a socket. */
function refusedOnSocket(m) {
  return new RollcallError(socketStatus[m.code] ?? 400, String(m.code), String(m.error), { retryAfter: m.retry_after, limit: m.limit });
}

// Retries: with a growing, random delay, and never earlier than the server permits.

/** Returns the delay, in ms, before a retry after so many tries. */
function backoff(tries) {
  const wait = Math.min(200 * 2 ** Math.min(tries, 10), 30_000);
  return wait / 2 + Math.random() * wait;
}

/**
 * Repeats attempt until close(), or until it fails with a final error. An attempt sets retry.tries
 * to 0 once it has succeeded, and retry.least to the shortest wait in ms that the server permits.
 */
function keep(attempt, { isFinal = (err) => !err.temporary, onRetry } = {}) {
  const life = new AbortController();
  const retry = { tries: 0, least: 0 };
  const done = (async () => {
    while (!life.signal.aborted) {
      let after = 0;
      try {
        await attempt(life.signal, retry);
      } catch (thrown) {
        if (life.signal.aborted) return;
        const err = unreachable('connect', thrown);
        if (isFinal(err)) throw err;
        after = err.retryAfter * 1000;
        notify(onRetry, err);
      }
      if (life.signal.aborted) return;
      let wait = backoff(retry.tries);
      if (retry.tries > 0) wait = Math.max(wait, retry.least);
      retry.tries++;
      await pause(Math.max(wait, after), life.signal);
    }
  })();
  done.catch(() => {}); // a caller that needs it awaits done
  return {
    done,
    close() {
      life.abort();
      return done.catch(() => {});
    },
  };
}

/** Calls a callback of the app. An exception of it is uncaught, as in an event listener, and ends nothing here. */
function notify(fn, ...args) {
  try {
    fn?.(...args);
  } catch (err) {
    queueMicrotask(() => {
      throw err;
    });
  }
}

async function pause(ms, signal) {
  let t;
  let forget;
  await new Promise((resolve) => {
    t = setTimeout(resolve, ms);
    forget = whenAborted(signal, resolve);
  });
  clearTimeout(t);
  forget();
}

/** Calls fn when signal is aborted, at once if it already is. Returns a function that removes fn: a signal outlives many attempts. */
function whenAborted(signal, fn) {
  if (signal.aborted) {
    fn();
    return () => {};
  }
  signal.addEventListener('abort', fn, { once: true });
  return () => signal.removeEventListener('abort', fn);
}

/** Waits for a promise, but not beyond an abort. */
async function unlessAborted(promise, signal) {
  let forget;
  try {
    return await Promise.race([promise, new Promise((_, reject) => (forget = whenAborted(signal, () => reject(new Error('closed')))))]);
  } finally {
    forget();
  }
}

/** 128 random bits, without crypto.randomUUID, which pages without TLS lack, and where there is no crypto at all, as in Node 18. */
function randomID() {
  const bytes = new Uint8Array(16);
  if (globalThis.crypto) crypto.getRandomValues(bytes);
  else for (let i = 0; i < bytes.length; i++) bytes[i] = Math.random() * 256;
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
}

// The user token of a client: it is kept, and another is taken before it ends.

const EARLY = 60_000; // before its end, or a fifth of its life, another token is taken
const SOONEST = 1_000; // between two renewals, whatever the tokens say
const LATEST = 2_000_000_000; // of a timer

class UserToken {
  #get;
  #text;
  #due = 0; // when another is taken, on this machine's clock
  #taking;

  constructor(get) {
    this.#get = get;
  }

  /** Returns a token that has not ended. */
  async text() {
    if (this.#text === undefined || Date.now() >= this.#due) await this.#take();
    return this.#text;
  }

  /** Drops a token that the server has refused, so that another is taken. */
  refuse(text) {
    if (this.#text === text) this.#text = undefined;
  }

  /** Takes a token; calls at one time share it. */
  #take() {
    this.#taking ??= (async () => {
      try {
        const text = await this.#get();
        if (typeof text !== 'string' || text === '') throw new RollcallError(0, 'invalid', 'getToken returned no user token');
        this.#due = Date.now() + lifeOf(text);
        this.#text = text;
      } catch (cause) {
        throw unreachable('getToken', cause);
      } finally {
        this.#taking = undefined;
      }
    })();
    return this.#taking;
  }

  /** Renews the token of a socket, first shown, until the socket ends or signal is aborted. */
  renew(socket, shown, signal) {
    let timer;
    let tries = 0;
    const forget = whenAborted(signal, () => clearTimeout(timer));
    socket.ended.catch(() => {
      clearTimeout(timer);
      forget();
    });
    const next = (wait) => {
      if (!socket.closed && !signal.aborted) timer = setTimeout(turn, Math.min(Math.max(wait, SOONEST), LATEST));
    };
    const turn = async () => {
      let text;
      try {
        text = await unlessAborted(this.text(), signal);
        if (text !== shown) await socket.request({ op: 'user_token', user_token: text });
        shown = text;
        tries = 0;
        next(this.#due - Date.now());
      } catch {
        // The socket stays open until half a minute after the token: that is time for more attempts.
        if (text !== undefined) this.refuse(text);
        next(backoff(tries++));
      }
    };
    next(this.#due - Date.now());
  }
}

/**
 * Returns for how long, in ms, a token that was just taken is used. The clock of this machine may be
 * wrong: then the times in the token count from now.
 */
function lifeOf(text) {
  let claims;
  try {
    claims = JSON.parse(atob(text.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')));
  } catch {
    // below
  }
  if (typeof claims?.exp !== 'number') throw new RollcallError(0, 'invalid', 'getToken returned what is no user token: a JSON Web Token with exp');
  const left = claims.exp * 1000 - Date.now();
  const whole = (claims.exp - claims.iat) * 1000 || Math.max(left, EARLY);
  const life = left > 0 && left <= whole ? left : whole;
  return life - Math.min(EARLY, life / 5);
}

// Calls over HTTP: the request, the check of the answer, and the retries.

const DEADLINE = 30_000; // of a call with its retries
const PATIENCE = 15_000; // with one try
const TRIES = 5;

class HTTP {
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

// The last status of each peer of a watch; it filters updates that change nothing for the app.

class Known {
  #status = new Map();
  #age = 0;
  #onPeer;
  #onAge;

  constructor(onPeer, onAge) {
    this.#onPeer = onPeer;
    this.#onAge = onAge;
  }

  /** Applies a frame: updates of peers, and the seconds for which the server could not read its store. */
  take(peers, age = 0) {
    for (const peer of peers) {
      if (this.#status.get(peer.peer) === peer.status) continue;
      this.#status.set(peer.peer, peer.status);
      notify(this.#onPeer, age > 0 ? { ...peer, age } : peer);
    }
    if (age > 0 || this.#age > 0) {
      this.#age = age;
      notify(this.#onAge, age);
    }
  }
}

// Watches over server-sent events: one request for each watch.

const SILENCE = 45_000; // the server sends a mark every 15 s
const BEGINNING = 15_000; // the server sends the first bytes at once

/** Watches peers over a stream; address returns its URL, which may hold a ticket. */
function watchOverStream(http, peers, { onPeer, onAge }, address, options) {
  const known = new Known(onPeer, onAge);
  let token;
  return keep(async (signal, retry) => {
    const breaker = new AbortController();
    const stop = () => breaker.abort();
    signal.addEventListener('abort', stop);
    let silent = setTimeout(stop, BEGINNING);
    try {
      const body = await http.stream(await unlessAborted(address(peers), signal), { peers, since: token }, breaker.signal);
      for await (const event of events(body, () => {
        clearTimeout(silent);
        silent = setTimeout(stop, SILENCE);
      })) {
        if (event.retry) retry.least = event.retry;
        if (!event.event) continue;
        if (event.event === 'bye') return;
        const frame = JSON.parse(event.data);
        known.take(frame.peers ?? [], frame.stale);
        if (event.id) token = event.id.split('.')[0]; // a renewal may follow the token
        retry.tries = 0;
      }
    } finally {
      clearTimeout(silent);
      signal.removeEventListener('abort', stop);
      breaker.abort();
    }
  }, options);
}

/** Reads server-sent events; calls alive for every chunk. */
async function* events(body, alive) {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = '';
  let event = {};
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      alive();
      rest += decoder.decode(value, { stream: true });
      const lines = rest.split(/\r?\n/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === '') {
          yield event;
          event = {};
          continue;
        }
        const at = line.indexOf(':');
        const name = at < 0 ? line : line.slice(0, at);
        const text = at < 0 ? '' : line.slice(at + 1).replace(/^ /, '');
        if (name === 'data') event.data = (event.data ?? '') + text;
        else if (name === 'retry') event.retry = Number(text) || 0;
        else if (name) event[name] = text;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// One WebSocket to /v1/socket: requests with their answers, and a periodic ping.

const OPENING = 30_000;
// The interval of the server's pings. Browsers do not expose them, so the client sends a ping
// message.
const QUIET = 15_000;

class Socket {
  /** Rejects with the cause when the socket ends. */
  ended;
  closed = false;
  #ws;
  #onMessage;
  #reject;
  #timer;
  #next = 1;
  #waiting = new Map();

  constructor(ws, onMessage) {
    this.#ws = ws;
    this.#onMessage = onMessage;
    this.ended = new Promise((_, reject) => (this.#reject = reject));
    this.ended.catch(() => {});
    ws.onclose = () => this.end(unreachable('socket', new Error('the connection was closed')));
    ws.onerror = () => this.end(unreachable('socket', new Error('the connection broke')));
    ws.onmessage = ({ data }) => this.#take(data);
    this.#listen();
  }

  /** Opens a socket; onMessage receives the messages that are no answers. */
  static async open(WebSocket, url, onMessage, signal) {
    let ws;
    let late;
    let forget;
    try {
      ws = new WebSocket(url);
      await new Promise((resolve, reject) => {
        const fail = () => reject(new Error('the socket did not open'));
        ws.onopen = resolve;
        ws.onerror = ws.onclose = fail;
        late = setTimeout(fail, OPENING);
        forget = whenAborted(signal, fail);
      });
    } catch (cause) {
      if (ws) {
        ws.onopen = ws.onerror = ws.onclose = null;
        ws.close();
      }
      throw unreachable('socket', cause);
    } finally {
      clearTimeout(late);
      forget?.();
    }
    return new Socket(ws, onMessage);
  }

  /** Sends m; the promise resolves with its answer, or rejects with the refusal. */
  request(m) {
    const id = this.#next++;
    const answer = new Promise((resolve, reject) => {
      if (this.closed) return reject(unreachable('socket', new Error('the connection was closed')));
      this.#waiting.set(id, { resolve, reject });
      this.#send({ ...m, id });
    });
    answer.catch(() => {}); // the end of the socket rejects every outstanding answer
    return answer;
  }

  /** Ends the socket because of err. */
  end(err) {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.#timer);
    const ws = this.#ws;
    ws.onclose = ws.onerror = ws.onmessage = null;
    ws.close();
    this.#reject(err);
    for (const { reject } of this.#waiting.values()) reject(err);
    this.#waiting.clear();
  }

  #send(m) {
    try {
      this.#ws.send(JSON.stringify(m));
    } catch (cause) {
      this.end(unreachable('socket', cause));
    }
  }

  #listen() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = setTimeout(() => this.end(unreachable('socket', new Error(`the server was silent for ${(2 * QUIET) / 1000} s`))), QUIET);
      this.#send({ op: 'ping' });
    }, QUIET);
  }

  #take(data) {
    this.#listen();
    let m;
    try {
      m = JSON.parse(data);
    } catch {
      // below
    }
    if (m === null || typeof m !== 'object') return this.end(new RollcallError(0, 'not_rollcall', 'the socket brought a message that is not rollcall\'s'));
    if (m.op !== 'ok' && m.op !== 'error') {
      if (m.op === 'bye') return this.end(new RollcallError(503, 'shutting_down', 'the server is going'));
      return this.#onMessage(m, this);
    }
    const waiting = this.#waiting.get(m.id);
    this.#waiting.delete(m.id);
    if (m.op === 'ok') waiting?.resolve();
    else if (waiting) waiting.reject(refusedOnSocket(m));
    else this.end(refusedOnSocket(m));
  }
}

// Watches over sockets that all watches of a client share. The server keeps one set of peers for a
// socket, so the client adds and removes peers and passes every update to the watches of its peer.

const MESSAGE = 60_000; // bytes of ids in one message; the server takes 64 KiB

/**
 * The sockets of one client. Usually there is one; a watch that exceeds the limit of the first
 * opens another. With tickets each watch has its own, since a ticket may be limited to one list of
 * peers.
 */
class SharedSockets {
  #open;
  #options;
  #sockets = [];

  constructor(open, options) {
    this.#open = open;
    this.#options = options;
  }

  watch(peers, { onPeer, onAge }) {
    const w = new Watch(peers, new Known(onPeer, onAge));
    w.close = () => {
      w.end();
      return w.done.catch(() => {});
    };
    if (w.peers.size === 0) w.end(new RollcallError(400, 'invalid', 'a watch needs at least one peer'));
    else this.place(w);
    return { done: w.done, close: w.close };
  }

  /** Adds w to a socket that has not refused it yet. */
  place(w) {
    let s = this.#options.alone ? undefined : this.#sockets.find((s) => !w.refusedBy.has(s));
    if (!s) this.#sockets.push((s = new SharedSocket(this, this.#options)));
    s.add(w);
    s.start(this.#open);
  }

  forget(s) {
    this.#sockets = this.#sockets.filter((o) => o !== s);
  }
}

/** One watch of the app. */
class Watch {
  refusedBy = new Set();
  accepted = false;
  ended = false;
  #known;
  #resolve;
  #reject;

  constructor(peers, known) {
    this.peers = new Set(peers);
    this.#known = known;
    this.done = new Promise((resolve, reject) => ([this.#resolve, this.#reject] = [resolve, reject]));
    this.done.catch(() => {}); // a caller that needs it awaits done
  }

  take(peers, age) {
    if (!this.ended) this.#known.take(peers, age);
  }

  end(err) {
    if (this.ended) return;
    this.ended = true;
    this.leave?.();
    if (err) this.#reject(err);
    else this.#resolve();
  }
}

class SharedSocket {
  #pool;
  #options;
  #handle;
  #socket; // while it is connected
  #resumed = false; // the watches of the last socket are restored on this one
  #watches = new Set();
  #latest = new Map(); // the last update of each watched peer
  #synced = false; // latest agrees with the last frame of the server
  #token;
  #age; // of the last frame

  constructor(pool, options) {
    this.#pool = pool;
    this.#options = options;
  }

  /** Connects, once there is a peer to watch. */
  start(open) {
    if (this.#handle) return;
    this.#handle = keep((signal, retry) => this.#attempt(open, signal, retry), this.#options);
    this.#handle.done.catch((err) => {
      for (const w of [...this.#watches]) w.end(err);
    });
  }

  add(w) {
    this.#watches.add(w);
    w.accepted = false;
    w.leave = () => this.#remove(w);
    if (this.#resumed) this.#join(this.#socket, w);
  }

  #remove(w) {
    this.#watches.delete(w);
    const left = [...w.peers].filter((p) => !this.#follows(p));
    for (const p of left) this.#latest.delete(p);
    if (this.#watches.size === 0) {
      this.#pool.forget(this);
      this.#handle.close();
      this.#socket?.end(new RollcallError(0, 'closed', 'the last watch was closed'));
      return;
    }
    if (w.asked === this.#socket) for (const peers of messages(left)) this.#socket?.request({ op: 'unwatch', peers });
  }

  #follows(peer) {
    for (const w of this.#watches) if (w.peers.has(peer)) return true;
    return false;
  }

  async #attempt(open, signal, retry) {
    const all = new Set();
    for (const w of this.#watches) for (const p of w.peers) all.add(p);
    const { socket, hello } = await open([...all], signal, (m) => this.#take(m, retry));
    const stop = () => socket.end(new RollcallError(0, 'closed', 'the last watch was closed'));
    signal.addEventListener('abort', stop);
    try {
      await hello;
      this.#socket = socket;
      await this.#resume(socket);
      this.#resumed = true;
      for (const w of this.#watches) if (!w.accepted) this.#join(socket, w);
      await socket.ended;
    } finally {
      this.#socket = undefined;
      this.#resumed = false;
      signal.removeEventListener('abort', stop);
      stop();
    }
  }

  /** Restores the watches of the last socket as one list. */
  async #resume(socket) {
    const again = [...this.#watches].filter((w) => w.accepted);
    const peers = new Set();
    for (const w of again) for (const p of w.peers) peers.add(p);
    const lists = messages(peers);
    const since = lists.length === 1 ? this.#token : undefined; // a token is valid for one whole list
    this.#synced = since === undefined;
    if (this.#synced) this.#latest.clear();
    for (const w of again) w.asked = socket;
    try {
      await Promise.all(lists.map((peers) => socket.request({ op: 'watch', peers, since })));
    } catch (err) {
      if (err.temporary || socket.closed) throw err;
      // The whole list is refused: each watch subscribes by itself and gets its own answer.
      for (const w of again) w.accepted = false;
      this.#token = undefined;
      if (again.length > 1) throw new RollcallError(503, err.code, err.message);
    }
  }

  /** Subscribes to the peers of w until the server accepts or refuses them. */
  async #join(socket, w) {
    w.asked = socket;
    for (let tries = 0; ; tries++) {
      try {
        await Promise.all(messages(w.peers).map((peers) => socket.request({ op: 'watch', peers })));
        if (w.ended || socket.closed) return;
        w.accepted = true;
        return this.#catchUp(w);
      } catch (err) {
        if (w.ended || socket.closed) return; // the next socket subscribes again
        if (!err.temporary) return this.#refused(w, err);
        notify(this.#options.onRetry, err);
        await pause(Math.max(backoff(tries), err.retryAfter * 1000), new AbortController().signal);
        if (w.ended || socket.closed) return;
      }
    }
  }

  /** Ends w with err, or moves it to a socket of its own when that may help. */
  #refused(w, err) {
    const alone = this.#watches.size === 1;
    if (alone || err.code !== 'too_many_peers') return w.end(err);
    w.refusedBy.add(this);
    this.#remove(w);
    this.#pool.place(w);
  }

  #take(m, retry) {
    if (!['snapshot', 'resume', 'change', 'mark'].includes(m.op)) return;
    const peers = m.peers ?? [];
    this.#age = m.stale;
    for (const peer of peers) if (this.#follows(peer.peer)) this.#latest.set(peer.peer, peer);
    for (const w of this.#watches) if (w.accepted) w.take(peers.filter((p) => w.peers.has(p.peer)), m.stale);
    if (m.token) this.#token = m.token; // only a frame with a token completes the updates
    if (m.more || m.op === 'mark') return;
    retry.tries = 0;
    if (this.#synced) return;
    this.#synced = true;
    for (const w of this.#watches) if (w.accepted) this.#catchUp(w);
  }

  /** Passes the latest updates to w: the server sends no second snapshot of a peer that the socket watches. */
  #catchUp(w) {
    if (!this.#synced) return;
    w.take([...w.peers].map((p) => this.#latest.get(p)).filter(Boolean), this.#age);
  }
}

const encoder = new TextEncoder();

/** Splits ids into lists that fit into one message each. */
function messages(ids) {
  const lists = [];
  let room = 0;
  for (const id of ids) {
    const n = encoder.encode(JSON.stringify(id)).length + 1;
    if (n > room) {
      lists.push([]);
      room = MESSAGE;
    }
    lists.at(-1).push(id);
    room -= n;
  }
  return lists;
}

// Presence: a peer is online while its own socket is open.

const GOODBYE = 2_000; // how long a logout may take
const DAMPING = 5_000; // between two words about the activity

/** What the user does, as the app says it. Words that follow one another fast are one, the last. */
class Activity {
  #word;
  #sent;
  #at = -Infinity;
  #timer;
  #send;

  constructor(activity) {
    this.#word = activity && { activity };
  }

  /** What a login says of it. */
  login() {
    this.#at = Date.now();
    this.#sent = this.#word;
    return this.#word;
  }

  /** The login was accepted: from now on words go out by send. */
  begin(send) {
    this.#send = send;
    this.#later(this.#at + DAMPING - Date.now());
  }

  /** The socket is gone. */
  end() {
    clearTimeout(this.#timer);
    this.#send = undefined;
  }

  set(activity, { activeAt } = {}) {
    this.#word = { activity, active_at: activeAt };
    this.#later(this.#at + DAMPING - Date.now());
  }

  #later(wait) {
    clearTimeout(this.#timer);
    if (!this.#send || !this.#word || this.#word.activity === this.#sent?.activity && this.#word.active_at === this.#sent?.active_at) return;
    this.#timer = setTimeout(() => this.#say(), Math.max(wait, 0));
    this.#timer.unref?.();
  }

  async #say() {
    const before = this.#sent;
    const word = this.#word;
    this.#at = Date.now();
    this.#sent = word;
    try {
      await this.#send?.(word);
    } catch (err) {
      if (!err.temporary || this.#sent !== word) return; // a word that the server does not take is not sent again
      this.#sent = before;
      this.#later(Math.max(err.retryAfter * 1000, DAMPING));
    }
  }
}

/** Keeps peer online until close(); open returns a socket after its hello. */
function presentOverSocket(open, peer, { device = randomID(), tag, platform, activity, sign, onChange } = {}, options) {
  const doing = new Activity(activity);
  let was = false; // present once: later logins are automatic, and yield to other devices of the tag
  // The next attempt replaces a signature that is too old, or from before a kick.
  const isFinal = (err) => options.isFinal(err) && !(sign && err.code === 'signature_expired');
  const handle = keep(async (signal, retry) => {
    const signature = sign && (await unlessAborted(sign(peer), signal));
    const { socket, hello, refused } = await open([peer], signal, (m) => {
      // These causes are final. Any other cause, also of a later server, is retried.
      const status = m.cause === 'kicked' || m.cause === 'replaced' ? 409 : 503;
      if (m.op === 'ended') socket.end(new RollcallError(status, String(m.cause), `the server ended the session: ${m.reason || m.cause}`));
    });
    let present = false;
    const login = socket.request({ op: 'present', peer, device, tag, platform, auto: was, ...doing.login(), ...signature });
    if (refused) login.catch(refused); // a kick voids a token that hello still took
    const forget = whenAborted(signal, () => {
      const gone = () => socket.end(new RollcallError(0, 'closed', 'logged out'));
      socket.request({ op: 'absent' }).then(gone, gone);
      setTimeout(gone, GOODBYE).unref?.();
    });
    try {
      await hello;
      await login;
      present = was = true;
      doing.begin((word) => socket.request({ op: 'activity', ...word }));
      retry.tries = 0;
      notify(onChange, true);
      await socket.ended;
    } finally {
      doing.end();
      forget();
      socket.end(new RollcallError(0, 'closed', 'the attempt ended'));
      if (present) notify(onChange, false);
    }
  }, { ...options, isFinal });
  return { ...handle, setActivity: (word, more) => doing.set(word, more) };
}

// Copies of who is online in the app, kept by what changed.

const WAIT = 10; // seconds; shorter than the patience of a call

/** Asks what changed after a cursor. */
async function changesAfter(http, { cursor, limit, wait = 0 }, signal) {
  const q = new URLSearchParams({ wait: Math.min(Math.max(Math.floor(wait), 0), WAIT), ...(cursor && { cursor }), ...(limit && { limit }) });
  const { answer } = await http.call('GET', `/v1/changes?${q}`, undefined, (a) => Array.isArray(a.changes) && typeof a.cursor === 'string' && a.cursor !== '', {}, signal);
  const { stale, ...page } = answer;
  if (stale > 0) {
    page.age = stale;
    for (const peer of page.changes) peer.age = stale;
  }
  return page;
}

/** Keeps a copy until close(): list(cursor, signal) returns a page of the peers that are online. */
function keepReplica(http, list, { cursor, onList, onChange, onCursor, onAge }, options) {
  let age = 0;
  let lists = 0; // in a row, without a page of changes between
  return keep(async (signal, retry) => {
    while (!signal.aborted) {
      const page = await unlessUnknown(cursor, () => changesAfter(http, { cursor, wait: WAIT }, signal), () => (cursor = undefined));
      if (signal.aborted) return;
      if (page.age || age) notify(onAge, (age = page.age ?? 0));
      if (page.list_again) {
        // A server that has it list again and again gets pauses.
        if (lists++ > 0) await pause(backoff(lists), signal);
        const online = await listAll(list, signal);
        if (signal.aborted) return;
        notify(onList, online);
      } else {
        lists = 0;
      }
      for (const peer of page.changes) notify(onChange, peer);
      cursor = page.cursor;
      notify(onCursor, cursor);
      retry.tries = 0;
    }
  }, options);
}

async function listAll(list, signal) {
  const all = [];
  let cursor;
  do {
    const page = await unlessUnknown(cursor, () => list(cursor, signal), () => {});
    all.push(...page.peers);
    cursor = page.cursor;
  } while (cursor && !signal.aborted);
  return all;
}

/** Makes a call with a cursor. When the server does not know the cursor any more, a retry without it may help. */
async function unlessUnknown(cursor, call, forget) {
  try {
    return await call();
  } catch (err) {
    if (err.code !== 'invalid' || !cursor) throw err;
    forget();
    throw new RollcallError(503, err.code, err.message);
  }
}

// A browser opens six connections to a server over HTTP/1.1, and a stream occupies one: in browsers
// watches share a socket.
const inNode = globalThis.process?.versions?.node !== undefined && globalThis.document === undefined;

export class Rollcall {
  #http;
  #url;
  #app;
  #dialect; // the master key as LeanCloud's calls expect it
  #key;
  #getTicket;
  #token;
  #WebSocket;
  #transport;
  #shared;
  #options;
  #unsure = new WeakMap(); // events whose report has not been answered

  constructor({ url, app, key, masterKey, hookKey, getToken, getTicket, transport = inNode ? 'sse' : 'socket', onRetry, WebSocket }) {
    this.#url = String(url).replace(/\/+$/, '');
    if (!/^https?:\/\/[^/?#]/.test(this.#url)) throw new RollcallError(0, 'invalid', `${url} is not the address of a server, such as https://presence.example.com`);
    this.#transport = checkTransport(transport);
    this.#token = getToken && new UserToken(getToken);
    this.#http = new HTTP(this.#url, { app, key, masterKey, hookKey }, this.#token);
    this.#app = app;
    this.#dialect = masterKey && { 'X-LC-Key': `${masterKey},master` };
    this.#key = key ?? masterKey;
    this.#getTicket = getTicket;
    this.#WebSocket = WebSocket;
    this.#options = {
      onRetry,
      alone: Boolean(getTicket),
      // A refused ticket is too old, or used, and a user token may have ended: the next attempt takes
      // another.
      isFinal: (err) => !err.temporary && !(getTicket && err.code === 'unauthorized') && !(getToken && err.code === 'token_expired'),
    };
    this.#shared = new SharedSockets((...args) => this.#socket(...args), this.#options);
  }

  /** Returns the status of peers, in their order. */
  async query(peers, { fields, since } = {}) {
    const ids = listOf(peers);
    const whole = since === undefined;
    const { answer, age } = await this.#http.call('POST', '/v1/peers/query', { peers: ids, fields, since }, (a) =>
      whole ? arePeers(a.peers) && a.peers.length === ids.length && a.peers.every((p, i) => p.peer === ids[i]) : arePeers(a.peers) && typeof a.token === 'string',
    );
    if (age !== undefined) for (const p of answer.peers) p.age = age;
    return whole ? answer.peers : withAge(answer, age);
  }

  /** Returns one peer, with every field that the key may see. */
  get(peer) {
    return this.#one('GET', peer, '', (a) => arePeers([a]) && a.peer === peer);
  }

  /** Returns whether to push a message to each of up to 10,000 peers, in their order; in doubt, yes. Master key. */
  async shouldPush(peers) {
    const ids = listOf(peers);
    const { answer } = await this.#http.call('POST', '/v1/peers/should-push', { peers: ids }, (a) =>
      Array.isArray(a.peers) && a.peers.length === ids.length && a.peers.every((p, i) => p?.peer === ids[i] && typeof p.push === 'boolean'),
    );
    return answer.peers;
  }

  /** Explains why a peer is shown as it is: its sessions, their leases, and the last reports. Master key. */
  why(peer) {
    return this.#one('GET', peer, '/why', (a) => arePeers([a]) && a.peer === peer);
  }

  /** Returns how long a peer was online on each of the last days. Master key. */
  async onlineTime(peer) {
    return (await this.#one('GET', peer, '/online-time', (a) => a.peer === peer && Array.isArray(a.days))).days;
  }

  /** Erases the state of a peer. Master key. */
  async erase(peer) {
    await this.#one('DELETE', peer, '', (a) => a.erased === peer);
  }

  /** Returns a page of the peers that are online, and the cursor of the next, which is empty on the last. Master key. */
  list({ cursor, limit } = {}) {
    return this.#list(cursor, limit);
  }

  async #list(cursor, limit, signal) {
    const q = new URLSearchParams({ online: '1', ...(cursor && { cursor }), ...(limit && { limit }) });
    const { answer, age } = await this.#http.call('GET', `/v1/peers?${q}`, undefined, (a) => Array.isArray(a.peers) && typeof a.cursor === 'string', {}, signal);
    return withAge(answer, age);
  }

  /**
   * Returns what changed in the app after a cursor: each peer once, with its latest state. With
   * list_again, list after this call, and go on from its cursor. wait is in seconds, up to 10.
   * Master key; for a copy that is kept by it see replicate.
   */
  changes(options = {}) {
    return changesAfter(this.#http, options);
  }

  /**
   * Keeps a copy of who is online in the app: onList is called with all ids, which replace the
   * copy, onChange with each peer that changed since, onCursor when all up to the cursor is in the
   * copy; a copy that was kept with its cursor goes on from it. Master key.
   */
  replicate(options = {}) {
    return keepReplica(this.#http, (cursor, signal) => this.#list(cursor, undefined, signal), options, this.#options);
  }

  /** Ends every session of a peer and revokes its tokens and signatures. Master key. */
  async kick(peer, { reason } = {}) {
    await this.#http.call('POST', '/1.2/rtm/client/kick', { client_id: peer, reason }, () => true, this.#dialect);
  }

  /**
   * Buys a ticket: one stream or socket, opened within 30 s by a page without a key. With peers it
   * is for exactly this list; with detail its stream has times and causes, if the key may see them.
   */
  async ticket({ peers, detail } = {}) {
    return (await this.#http.call('POST', '/v1/ticket', { peers, detail }, (a) => typeof a.ticket === 'string')).answer;
  }

  /**
   * Reports events of sessions. An event without an id gets one, so that it counts once in all
   * retries of this call, and when the same objects are reported again after a failure. Set the id
   * yourself when one event may be reported in two objects.
   */
  async report(events) {
    const list = listOf(events);
    const named = list.map((e) => (e.id === undefined ? { ...e, id: this.#idOf(e) } : e));
    const { answer } = await this.#http.call('POST', '/v1/events', { events: named }, (a) => typeof a.accepted === 'number');
    for (const e of list) this.#unsure.delete(e); // reported: from now on the same object is another event
    return answer;
  }

  /** Returns the id of an earlier report of e without an answer, or a new id. */
  #idOf(e) {
    const text = JSON.stringify(e);
    const before = this.#unsure.get(e);
    if (before?.text === text) return before.id;
    const id = randomID();
    this.#unsure.set(e, { id, text });
    return id;
  }

  /** Renews all sessions of a node for another lease, in seconds; returns the lease that counts. */
  async beat(node, { lease } = {}) {
    return (await this.#node('POST', node, 'beat', { lease }, (a) => typeof a.lease === 'number')).lease;
  }

  /** Announces that a node stops. Its sessions may reconnect elsewhere within the grace, which is returned in seconds. */
  async drain(node) {
    return (await this.#node('POST', node, 'drain', {}, (a) => typeof a.grace === 'number')).grace;
  }

  /**
   * Replaces the sessions of a node by a complete list: those on it are online, all others of the
   * node end. time, in Unix milliseconds, is the time of the list: later reports of the node stand.
   */
  async resync(node, sessions, { time } = {}) {
    return this.#node('PUT', node, 'sessions', { sessions: listOf(sessions), time }, (a) => typeof a.ended === 'number');
  }

  /**
   * Watches peers and calls onPeer with the first status of every peer and with every change. It
   * reconnects after a lost connection and resumes. The promise in done resolves after close(), or
   * rejects when a retry cannot help.
   */
  watch(peers, onPeer, { transport = this.#transport, onAge } = {}) {
    const ids = listOf(peers);
    if (checkTransport(transport) === 'socket') return this.#shared.watch(ids, { onPeer, onAge });
    return watchOverStream(this.#http, ids, { onPeer, onAge }, (ids) => this.#streamPath(ids), this.#options);
  }

  /**
   * Keeps a peer online over a socket of its own until close(), which logs it out. device is the id
   * of the device, the same at each call; default: a random id for the life of the handle. sign
   * returns time, nonce and sign from your server, for servers that require signatures.
   */
  present(peer, options) {
    return presentOverSocket((...args) => this.#socket(...args), peer, options, this.#options);
  }

  async #one(method, peer, part, is) {
    const { answer, age } = await this.#http.call(method, `/v1/peer${part}?${new URLSearchParams({ id: peer })}`, undefined, is);
    return withAge(answer, age);
  }

  async #node(method, node, part, body, is) {
    if (node === '.' || node === '..') throw new RollcallError(0, 'invalid', `a path does not carry the node id ${node}`);
    return (await this.#http.call(method, `/v1/nodes/${encodeURIComponent(node)}/${part}`, body, is)).answer;
  }

  async #streamPath(peers) {
    if (!this.#getTicket) return '/v1/watch';
    return `/v1/watch?${new URLSearchParams({ app: this.#app, ticket: await this.#getTicket({ peers }) })}`;
  }

  /** Opens a socket and sends hello; the server queues messages until it has answered the hello. */
  async #socket(peers, signal, onMessage) {
    const secret = await this.#secret(peers, signal);
    const Class = this.#WebSocket ?? globalThis.WebSocket ?? (await import('./node-socket.js')).NodeSocket;
    const socket = await Socket.open(Class, `${this.#url.replace(/^http/, 'ws')}/v1/socket`, onMessage, signal);
    const hello = socket.request({ op: 'hello', app: this.#app, ...secret });
    if (!secret.user_token) return { socket, hello };
    hello.then(
      () => this.#token.renew(socket, secret.user_token, signal),
      (err) => refused(err),
    );
    const refused = (err) => {
      if (err.code === 'token_expired' || err.code === 'unauthorized') this.#token.refuse(secret.user_token);
    };
    return { socket, hello, refused };
  }

  /** Returns what a hello shows. */
  async #secret(peers, signal) {
    if (this.#getTicket) return { ticket: await unlessAborted(this.#getTicket({ peers }), signal) };
    if (this.#token) return { user_token: await unlessAborted(this.#token.text(), signal) };
    return { key: this.#key };
  }
}

/** Copies a list. A string is refused: it is iterable, but its characters are no list of ids. */
function listOf(items) {
  if (typeof items === 'string' || typeof items?.[Symbol.iterator] !== 'function') throw new RollcallError(0, 'invalid', 'a list is expected');
  return [...items];
}

function checkTransport(transport) {
  if (transport !== 'socket' && transport !== 'sse') throw new RollcallError(0, 'invalid', `there is no transport ${transport}; there are socket and sse`);
  return transport;
}

function arePeers(peers) {
  return Array.isArray(peers) && peers.every((p) => typeof p?.peer === 'string' && typeof p.status === 'string');
}

function withAge(answer, age) {
  if (age !== undefined) answer.age = age;
  return answer;
}
