// Presence for a Parse Server with a rollcall beside it, see docs/parse-server.md: copy this file and reporter.js of chatserver-js. The
// objectId of a user is the id of the peer.

import { createHash, createHmac, randomUUID } from 'node:crypto';
import { Rollcall } from 'rollcall-client';
import { Reporter } from '../../chatserver-js/reporter.js';

const LEASE = 15; // seconds without a heartbeat after which rollcall ends the connections of this process
const ACTIVE = 300; // seconds that a user without a connection stays online after a login or a save
const RECHECK = 60_000; // how often the sessions of open connections are looked up: Parse deletes sessions without a trigger
const PREFIX = 'active-';

/** Names a session of Parse at rollcall, without its token. */
const activity = (sessionToken) => PREFIX + createHash('sha256').update(sessionToken).digest('hex').slice(0, 32);

export class Presence {
  #parse;
  #rollcall;
  #url;
  #app;
  #masterKey;
  #reporter;
  #open = new Map(); // LiveQuery connections by id, each with its peer and session token
  #active = new Map(); // events of sessions that have not been sent yet
  #flush;

  constructor(Parse, { url, app, masterKey, hookKey, node = 'parse' }) {
    this.#parse = Parse;
    this.#rollcall = new Rollcall({ url, app, masterKey, hookKey });
    this.#url = url;
    this.#app = app;
    this.#masterKey = masterKey;
    this.#reporter = new Reporter(this.#rollcall, `${node}@${randomUUID()}`, LEASE);
    this.#reporter.start();
    setInterval(() => this.#recheck().catch((err) => console.error(`session lookup failed: ${err.message}`)), RECHECK).unref();
  }

  /** What LeanCloud's recipe answers to any ids: "1", "0", or null for a user that was not seen for 7 days. */
  async statuses(peerIds) {
    const res = await fetch(`${this.#url}/1.1/functions/getOnOffStatus`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-LC-Id': this.#app, 'X-LC-Key': `${this.#masterKey},master` },
      body: JSON.stringify({ peerIds }),
      signal: AbortSignal.timeout(5000),
    }).catch((err) => {
      throw new Error(`rollcall does not answer: ${err.cause?.code ?? err.message}`);
    });
    const { result, error } = await res.json();
    if (!res.ok) throw new Error(`rollcall: ${res.status} ${error}`);
    return result;
  }

  /** For one stream or socket that watches these peers, of a page without a key. */
  async ticket(peers) {
    return (await this.#rollcall.ticket({ peers })).ticket;
  }

  /** For one login at rollcall's own socket, where rtm.signatures is on. */
  sign(user) {
    const [time, nonce] = [Date.now(), randomUUID()];
    const text = `${this.#app}:${user.id}::${time}:${nonce}`;
    return { time, nonce, sign: createHmac('sha1', this.#masterKey).update(text).digest('hex') };
  }

  /** Takes the events of LiveQuery: a user is online while a connection with a valid session is open. */
  async liveQuery({ event, client, sessionToken }) {
    if (event !== 'connect' || !sessionToken) return;
    let closed = false;
    client.parseWebSocket.on('disconnect', () => {
      closed = true;
      this.#end(client.id, 'lost');
    });
    const [session] = await this.#sessions([sessionToken]).catch((err) => {
      console.error(`session lookup failed: ${err.message}`); // an error that leaves a handler of LiveQuery ends the process
      return [];
    });
    if (closed || !session) return;
    const peer = session.get('user').id;
    this.#open.set(client.id, { peer, sessionToken });
    this.#reporter.connected(peer, client.id);
  }

  /** A user did something, and is online for a while without any connection. */
  active(user) {
    this.#note(user.id, user.getSessionToken(), 'online');
  }

  /** A session has ended; its connections may stay open. */
  loggedOut(session) {
    const sessionToken = session.get('sessionToken');
    this.#note(session.get('user').id, sessionToken, 'offline');
    for (const [id, connection] of this.#open) if (connection.sessionToken === sessionToken) this.#end(id, 'logout');
  }

  /** Sessions of a user were deleted: sockets at rollcall are closed, signatures from before are refused, and what the sessions did is over. */
  async revoked(user) {
    await this.#rollcall.kick(user.id, { reason: 'revoked' });
    await this.#recheck();
    const { Query, Session } = this.#parse;
    const left = await new Query(Session).equalTo('user', user).findAll({ useMasterKey: true });
    const names = new Set(left.map((session) => activity(session.get('sessionToken'))));
    const { sessions } = await this.#rollcall.why(user.id);
    const over = sessions.filter(({ open, session }) => open && session.startsWith(PREFIX) && !names.has(session));
    for (const { session } of over) this.#active.delete(session);
    if (over.length > 0) await this.#rollcall.report(over.map(({ session }) => ({ peer: user.id, session, state: 'offline', time: Date.now(), why: 'kicked' })));
  }

  /** This process stops: its connections have 30 s to come back elsewhere without a change of status. */
  async drain() {
    await this.#send();
    await this.#reporter.drain();
  }

  #end(id, why) {
    if (this.#open.has(id)) this.#reporter.gone(this.#open.get(id).peer, id, why);
    this.#open.delete(id);
  }

  async #recheck() {
    const tokens = [...new Set([...this.#open.values()].map(({ sessionToken }) => sessionToken))];
    for (let i = 0; i < tokens.length; i += 1000) {
      const asked = new Set(tokens.slice(i, i + 1000));
      for (const session of await this.#sessions([...asked])) asked.delete(session.get('sessionToken'));
      for (const [id, { sessionToken }] of this.#open) if (asked.has(sessionToken)) this.#end(id, 'kicked');
    }
  }

  #sessions(tokens) {
    const { Query, Session } = this.#parse;
    return new Query(Session).containedIn('sessionToken', tokens).greaterThan('expiresAt', new Date()).limit(tokens.length).find({ useMasterKey: true });
  }

  #note(peer, sessionToken, state) {
    if (!sessionToken) return; // a call with the master key is no user's
    const session = activity(sessionToken);
    this.#active.set(session, { peer, session, state, time: Date.now(), ttl: ACTIVE, why: state === 'offline' ? 'logout' : undefined });
    this.#flush ??= setTimeout(() => this.#send(), 1000);
  }

  async #send() {
    clearTimeout(this.#flush);
    this.#flush = undefined;
    const events = [...this.#active.values()];
    this.#active.clear();
    try {
      for (let i = 0; i < events.length; i += 1000) await this.#rollcall.report(events.slice(i, i + 1000));
    } catch (err) {
      console.error(`report failed: ${err.message}`); // the next save says the same again
    }
  }
}
