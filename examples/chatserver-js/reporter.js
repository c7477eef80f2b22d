// Keeps rollcall up to date about the connections of this process. The chat never waits for it.

const BATCH = 1000; // events in one call
const RELIST = 300_000; // how often the whole list is sent without a reason: rollcall may have been started again without its data

export class Reporter {
  #rollcall;
  #node; // this process and its start: after a crash the next one is another node
  #lease; // seconds that rollcall believes in this node without a heartbeat
  #open = new Map(); // by session id
  #pending = []; // in their order
  #behind = false; // reports were lost: the whole list is due
  #begun = false;
  #sending = false;
  #stopped = false;
  #timer;

  constructor(rollcall, node, lease) {
    this.#rollcall = rollcall;
    this.#node = node;
    this.#lease = lease;
  }

  /**
   * Sends heartbeats until drain(). They renew all sessions of the node at once, so no session has a timer. After a gap
   * rollcall may have ended them, so the whole list is due.
   */
  async start() {
    let last = Date.now();
    let listed = last;
    const beat = async () => {
      try {
        await this.#rollcall.beat(this.#node, { lease: this.#lease });
        const now = Date.now();
        const gap = now - last >= (this.#lease * 2000) / 3; // a heartbeat was missed
        last = now;
        if (gap || now - listed >= RELIST) {
          this.#behind = true;
          listed = now;
        }
      } catch (err) {
        console.error(`heartbeat failed: ${err.message}`);
      }
      if (!this.#stopped) this.#timer = setTimeout(beat, (this.#lease * 1000) / 3);
      this.#begun = true; // a node leases its sessions from its first heartbeat on
      this.#send();
    };
    await beat();
  }

  /** Times are this machine's, which orders the reports of a session. */
  connected(peer, session) {
    const time = Date.now();
    this.#open.set(session, { peer, session, time });
    this.#pending.push({ peer, state: 'online', session, node: this.#node, time });
    this.#send();
  }

  gone(peer, session, why) {
    this.#open.delete(session);
    this.#pending.push({ peer, state: 'offline', session, node: this.#node, time: Date.now(), why });
    this.#send();
  }

  /** Says that this process stops: those that connect elsewhere within the grace are online throughout. */
  async drain() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#rollcall.drain(this.#node);
  }

  /**
   * Sends reports, one call after the other. The client retries a call for a while; when that was not enough the list of all
   * connections takes the place of what was lost.
   */
  async #send() {
    if (!this.#begun || this.#sending) return;
    this.#sending = true;
    while (!this.#stopped && (this.#behind || this.#pending.length > 0)) {
      const behind = this.#behind;
      const events = this.#pending.splice(0, behind ? Infinity : BATCH);
      this.#behind = false;
      try {
        if (behind) await this.#rollcall.resync(this.#node, [...this.#open.values()], { time: Date.now() });
        else await this.#rollcall.report(events);
      } catch (err) {
        this.#behind = true;
        console.error(`report failed: ${err.message}`);
        await new Promise((resolve) => setTimeout(resolve, 1000));
      }
    }
    this.#sending = false;
  }
}
