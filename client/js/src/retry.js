// How the client retries: later each time, never all clients at once, and not before the server asks for it.

import { unreachable } from './error.js';

/** How long to wait, in ms, before the retry that follows so many others. */
export function backoff(tries) {
  const wait = Math.min(200 * 2 ** Math.min(tries, 10), 30_000);
  return wait / 2 + Math.random() * wait;
}

/**
 * Runs attempt again and again until close(), or until it fails for good. An attempt sets retry.tries to 0 once it has
 * worked, and retry.least to the server's shortest wait in ms.
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

/** Calls a callback of the app. What it throws is uncaught, as in an event listener, and ends nothing here. */
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

/** Calls fn when signal is aborted, now if it is already, and returns how to forget that: a signal outlives many attempts. */
export function whenAborted(signal, fn) {
  if (signal.aborted) {
    fn();
    return () => {};
  }
  signal.addEventListener('abort', fn, { once: true });
  return () => signal.removeEventListener('abort', fn);
}

/** Waits for what another party promised, but not beyond an abort. */
export async function unlessAborted(promise, signal) {
  let forget;
  try {
    return await Promise.race([promise, new Promise((_, reject) => (forget = whenAborted(signal, () => reject(new Error('closed')))))]);
  } finally {
    forget();
  }
}

/** 128 random bits. It does without crypto.randomUUID, which pages without TLS lack. */
export function randomID() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('');
}
