// What a watch knows of its peers, and what of it is news to the app.

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

  /** Takes what a frame brings: updates of peers, and for how many seconds the server could not read its store. */
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
