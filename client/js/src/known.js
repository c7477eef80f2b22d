// The last status of each peer of a watch; it filters updates that change nothing for the app.

import { notify } from './retry.js';

export class Known {
  #status = new Map();
  #age = 0;
  #onPeer;
  #onAge;

  constructor(onPeer, onAge) {
    this.#onPeer = onPeer;
    this.#onAge = onAge;
  }

  /** Applies a frame: updates of peers, and the seconds for which the server could not read its store. */
  take(peers, age = 0) {
    for (const peer of peers) {
      if (this.#status.get(peer.peer) === peer.status) continue;
      this.#status.set(peer.peer, peer.status);
      notify(this.#onPeer, age > 0 ? { ...peer, age } : peer);
    }
    if (age > 0 || this.#age > 0) {
      this.#age = age;
      notify(this.#onAge, age);
    }
  }
}
