// Watches over sockets that all watches of a client share. The server keeps one set of peers for a
// socket, so the client adds and removes peers and passes every update to the watches of its peer.

import { RollcallError } from './error.js';
import { Known } from './known.js';
import { backoff, keep, notify, pause } from './retry.js';

const MESSAGE = 60_000; // bytes of ids in one message; the server takes 64 KiB

/**
 * The sockets of one client. Usually there is one; a watch that exceeds the limit of the first
 * opens another. With tickets each watch has its own, since a ticket may be limited to one list of
 * peers.
 */
export class SharedSockets {
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
