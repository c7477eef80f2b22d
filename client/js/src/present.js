// Presence: a peer is online while its own socket is open.

import { RollcallError } from './error.js';
import { keep, notify, randomID, unlessAborted, whenAborted } from './retry.js';

const GOODBYE = 2_000; // how long a logout may take

/** Keeps peer online until close(); open returns a socket after its hello. */
export function presentOverSocket(open, peer, { device = randomID(), tag, platform, sign, onChange } = {}, options) {
  let was = false; // present once: later logins are automatic, and yield to other devices of the tag
  // The next attempt replaces a signature that is too old, or from before a kick.
  const isFinal = (err) => options.isFinal(err) && !(sign && err.code === 'signature_expired');
  return keep(async (signal, retry) => {
    const signature = sign && (await unlessAborted(sign(peer), signal));
    const { socket, hello, refused } = await open([peer], signal, (m) => {
      // These causes are final. Any other cause, also of a later server, is retried.
      const status = m.cause === 'kicked' || m.cause === 'replaced' ? 409 : 503;
      if (m.op === 'ended') socket.end(new RollcallError(status, String(m.cause), `the server ended the session: ${m.reason || m.cause}`));
    });
    let present = false;
    const login = socket.request({ op: 'present', peer, device, tag, platform, auto: was, ...signature });
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
      retry.tries = 0;
      notify(onChange, true);
      await socket.ended;
    } finally {
      forget();
      socket.end(new RollcallError(0, 'closed', 'the attempt ended'));
      if (present) notify(onChange, false);
    }
  }, { ...options, isFinal });
}
