// The user token of a client: it is kept, and another is taken before it ends.

import { RollcallError, unreachable } from './error.js';
import { backoff, unlessAborted, whenAborted } from './retry.js';

const EARLY = 60_000; // before its end, or a fifth of its life, another token is taken
const SOONEST = 1_000; // between two renewals, whatever the tokens say
const LATEST = 2_000_000_000; // of a timer

export class UserToken {
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
