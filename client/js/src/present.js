// Presence: a peer is online while its own socket is open.

import { RollcallError } from './error.js';
import { keep, notify, randomID, unlessAborted, whenAborted } from './retry.js';

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
export function presentOverSocket(open, peer, { device = randomID(), tag, platform, activity, sign, onChange } = {}, options) {
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
