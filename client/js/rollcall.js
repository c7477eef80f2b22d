// A client of rollcall for browsers and Node 20 and newer. It depends on nothing.

/** A refusal of the server. Its code never changes its meaning. */
export class RollcallError extends Error {
  constructor(status, code, text, retryAfter = 0) {
    super(`${text} (${code})`);
    this.name = 'RollcallError';
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter; // seconds
  }

  /** Whether trying again may help. */
  get temporary() {
    return this.status >= 500 || this.status === 429 || this.status === 408;
  }
}

const SILENCE = 45_000; // the server marks, or pings, every 15 s

export class Rollcall {
  #url;
  #app;
  #keys;
  #WebSocket;

  constructor({ url, app, key, masterKey, hookKey, WebSocket }) {
    this.#url = String(url).replace(/\/+$/, '');
    this.#app = app;
    this.#keys = { key, masterKey, hookKey };
    this.#WebSocket = WebSocket;
  }

  /** Asks what peers are; the answers come in their order. */
  async query(peers, { fields, since } = {}) {
    const answer = await this.#call('POST', '/v1/peers/query', { peers, fields, since });
    return since === undefined ? answer.peers : answer;
  }

  /** Asks what one peer is, with all that the key may see. */
  get(peer) {
    return this.#call('GET', `/v1/peers/${encodeURIComponent(peer)}`);
  }

  /** Reports what happened to sessions. Sending the same events again is safe. */
  report(events) {
    return this.#call('POST', '/v1/events', { events });
  }

  /**
   * Follows peers and calls onPeer for every peer whose status is first known or another than it was told last. It
   * connects again after a break and goes on where it was. The promise in done ends after close(), or with a refusal that
   * trying again would not change.
   */
  watch(peers, onPeer) {
    const ids = [...peers];
    const told = new Map();
    let token;
    return keep(async (signal, retry) => {
      const breaker = new AbortController();
      const stop = () => breaker.abort();
      signal.addEventListener('abort', stop);
      let silent = setTimeout(stop, SILENCE);
      try {
        const headers = { Accept: 'text/event-stream', ...(token && { 'Last-Event-ID': token }) };
        const res = await this.#send('POST', '/v1/watch', { peers: ids }, headers, breaker.signal);
        for await (const event of events(res.body, () => {
          clearTimeout(silent);
          silent = setTimeout(stop, SILENCE);
        })) {
          if (event.retry) retry.least = event.retry;
          if (!event.event) continue;
          if (event.event === 'bye') return;
          for (const peer of JSON.parse(event.data).peers ?? []) {
            if (told.get(peer.peer) === peer.status) continue;
            told.set(peer.peer, peer.status);
            onPeer(peer);
          }
          if (event.id) token = event.id; // only now is all of it known
          retry.tries = 0;
        }
      } finally {
        clearTimeout(silent);
        signal.removeEventListener('abort', stop);
        breaker.abort();
      }
    });
  }

  /**
   * Keeps a peer online over a socket until close(), which logs it out. device tells this device from the peer's others,
   * so that it takes its own place when it comes back.
   */
  present(peer, { device, tag, platform, onChange } = {}) {
    return keep(async (signal, retry) => {
      const socket = await this.#socket(signal);
      let present = false;
      let silent;
      let forget;
      try {
        await new Promise((resolve, reject) => {
          const say = (m) => socket.send(JSON.stringify(m));
          const hangUp = () => {
            try {
              say({ op: 'absent', id: 3 });
            } catch {
              resolve();
            }
            setTimeout(resolve, 2000).unref?.();
          };
          const alive = () => {
            clearTimeout(silent);
            // Browsers do not show the server's pings, so ask for a word now and then.
            silent = setTimeout(() => {
              try {
                say({ op: 'ping' });
              } catch (err) {
                reject(err);
              }
              silent = setTimeout(() => reject(new Error('the socket was silent for too long')), SILENCE / 3);
            }, SILENCE / 3);
          };
          socket.onclose = () => reject(new Error('the socket was closed'));
          socket.onerror = () => reject(new Error('the socket broke'));
          socket.onmessage = ({ data }) => {
            alive();
            const m = JSON.parse(data);
            if (m.op === 'ok' && m.id === 2) {
              present = true;
              retry.tries = 0;
              onChange?.(true);
            } else if (m.op === 'ok' && m.id === 3) {
              resolve();
            } else if (m.op === 'error') {
              reject(new RollcallError(socketStatus[m.code] ?? 400, m.code, m.error, m.retry_after));
            } else if (m.op === 'ended') {
              reject(new RollcallError(409, m.cause, 'the server ended the session'));
            } else if (m.op === 'bye') {
              reject(new Error('the server is going'));
            }
          };
          alive();
          say({ op: 'hello', id: 1, app: this.#app, key: this.#keys.key ?? this.#keys.masterKey });
          say({ op: 'present', id: 2, peer, device, tag, platform, auto: retry.tries > 0 });
          forget = whenAborted(signal, hangUp);
        });
      } finally {
        clearTimeout(silent);
        forget?.();
        socket.onclose = socket.onerror = socket.onmessage = null;
        socket.close();
        if (present) onChange?.(false);
      }
    });
  }

  async #socket(signal) {
    const Socket = this.#WebSocket ?? globalThis.WebSocket ?? (await import('./node-socket.js')).NodeSocket;
    const socket = new Socket(`${this.#url.replace(/^http/, 'ws')}/v1/socket`);
    let late;
    let forget;
    try {
      await new Promise((resolve, reject) => {
        const fail = () => reject(new Error('the socket did not open'));
        socket.onopen = resolve;
        socket.onerror = socket.onclose = fail;
        late = setTimeout(fail, SILENCE);
        forget = whenAborted(signal, fail);
      });
    } catch (err) {
      socket.onopen = socket.onerror = socket.onclose = null;
      socket.close();
      throw err;
    } finally {
      clearTimeout(late);
      forget();
    }
    return socket;
  }

  async #call(method, path, body) {
    const res = await this.#send(method, path, body, {}, AbortSignal.timeout(30_000));
    return res.json();
  }

  async #send(method, path, body, headers, signal) {
    const { key, masterKey, hookKey } = this.#keys;
    const res = await fetch(this.#url + path, {
      method,
      signal,
      cache: 'no-store',
      headers: {
        'X-LC-Id': this.#app,
        ...(key && { 'X-LC-Key': key }),
        ...(hookKey && { 'X-LC-Hook-Key': hookKey }),
        ...(masterKey && { Authorization: `Bearer ${masterKey}` }),
        ...(body && { 'Content-Type': 'application/json' }),
        ...headers,
      },
      body: body && JSON.stringify(body),
    });
    if (res.ok) return res;
    const retry = Number(res.headers.get('Retry-After')) || 0;
    let refusal = {};
    try {
      refusal = await res.json();
    } catch {
      // not our words: a proxy's
    }
    throw new RollcallError(res.status, refusal.code ?? `http_${res.status}`, refusal.error ?? `the server answered ${res.status}`, retry);
  }
}

const socketStatus = { unavailable: 503, full: 503, shutting_down: 503, internal: 500, too_many_watchers: 503, rate_limited: 429 };

/** Runs attempt again and again until close(), or until it fails for good. */
function keep(attempt) {
  const life = new AbortController();
  const retry = { tries: 0, least: 0 };
  const done = (async () => {
    while (!life.signal.aborted) {
      let after = 0;
      try {
        await attempt(life.signal, retry);
      } catch (err) {
        if (life.signal.aborted) return;
        if (err instanceof RollcallError) {
          if (!err.temporary) throw err;
          after = err.retryAfter * 1000;
        }
      }
      if (life.signal.aborted) return;
      let wait = Math.min(200 * 2 ** Math.min(retry.tries, 10), 30_000);
      wait = wait / 2 + Math.random() * wait;
      if (retry.tries > 0) wait = Math.max(wait, retry.least);
      retry.tries++;
      await pause(Math.max(wait, after), life.signal);
    }
  })();
  done.catch(() => {}); // whoever cares awaits done
  return {
    done,
    close() {
      life.abort();
      return done.catch(() => {});
    },
  };
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

/** Calls fn when signal is aborted, now if it is already, and returns how to forget that: a signal outlives many attempts. */
function whenAborted(signal, fn) {
  if (signal.aborted) {
    fn();
    return () => {};
  }
  signal.addEventListener('abort', fn, { once: true });
  return () => signal.removeEventListener('abort', fn);
}

/** Reads server-sent events; heard is called with every piece that comes. */
async function* events(body, heard) {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = '';
  let event = {};
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      heard();
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
