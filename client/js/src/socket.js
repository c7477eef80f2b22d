// One WebSocket to /v1/socket: requests with their answers, and a periodic ping.

import { RollcallError, refusedOnSocket, unreachable } from './error.js';
import { whenAborted } from './retry.js';

const OPENING = 30_000;
// The interval of the server's pings. Browsers do not expose them, so the client sends a ping
// message.
const QUIET = 15_000;

export class Socket {
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
