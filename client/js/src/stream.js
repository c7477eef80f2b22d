// Watches over server-sent events: one request for each watch.

import { Known } from './known.js';
import { keep, unlessAborted } from './retry.js';

const SILENCE = 45_000; // the server sends a mark every 15 s
const BEGINNING = 15_000; // the server sends the first bytes at once

/** Watches peers over a stream; address returns its URL, which may hold a ticket. */
export function watchOverStream(http, peers, { onPeer, onAge }, address, options) {
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
