// Retries: with a growing, random delay, and never earlier than the server permits.

import { unreachable } from './error.js';

/** Returns the delay, in ms, before a retry after so many tries. */
export function backoff(tries) {
  const wait = Math.min(200 * 2 ** Math.min(tries, 10), 30_000);
  return wait / 2 + Math.random() * wait;
}

/**
 * Repeats attempt until close(), or until it fails with a final error. An attempt sets retry.tries
 * to 0 once it has succeeded, and retry.least to the shortest wait in ms that the server permits.
 */
export function keep(attempt, { isFinal = (err) => !err.temporary, onRetry } = {}) {
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
export function notify(fn, ...args) {
  try {
    fn?.(...args);
  } catch (err) {
    queueMicrotask(() => {
      throw err;
    });
  }
}

export async function pause(ms, signal) {
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
export function whenAborted(signal, fn) {
  if (signal.aborted) {
    fn();
    return () => {};
  }
  signal.addEventListener('abort', fn, { once: true });
  return () => signal.removeEventListener('abort', fn);
}

/** Waits for a promise, but not beyond an abort. */
export async function unlessAborted(promise, signal) {
  let forget;
  try {
    return await Promise.race([promise, new Promise((_, reject) => (forget = whenAborted(signal, () => reject(new Error('closed')))))]);
  } finally {
    forget();
  }
}

/** 128 random bits, without crypto.randomUUID, which pages without TLS lack, and where there is no crypto at all, as in Node 18. */
export function randomID() {
  const bytes = new Uint8Array(16);
  if (globalThis.crypto) crypto.getRandomValues(bytes);
  else for (let i = 0; i < bytes.length; i++) bytes[i] = Math.random() * 256;
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
}
