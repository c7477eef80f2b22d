// Copies of who is online in the app, kept by what changed.

import { RollcallError } from './error.js';
import { backoff, keep, notify, pause } from './retry.js';

const WAIT = 10; // seconds; shorter than the patience of a call

/** Asks what changed after a cursor. */
export async function changesAfter(http, { cursor, limit, wait = 0 }, signal) {
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
export function keepReplica(http, list, { cursor, onList, onChange, onCursor, onAge }, options) {
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
