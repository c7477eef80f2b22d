
import { RollcallError } from './error.js';
import { HTTP } from './http.js';
import { presentOverSocket } from './present.js';
import { changesAfter, keepReplica } from './replica.js';
import { randomID, unlessAborted } from './retry.js';
import { SharedSockets } from './shared.js';
import { Socket } from './socket.js';
import { watchOverStream } from './stream.js';
import { UserToken } from './token.js';

export { RollcallError };

// A browser opens six connections to a server over HTTP/1.1, and a stream occupies one: in browsers
// watches share a socket.
const inNode = globalThis.process?.versions?.node !== undefined && globalThis.document === undefined;

export class Rollcall {
  #http;
  #url;
  #app;
  #dialect; // the master key as LeanCloud's calls expect it
  #key;
  #getTicket;
  #token;
  #WebSocket;
  #transport;
  #shared;
  #options;
  #unsure = new WeakMap(); // events whose report has not been answered

  constructor({ url, app, key, masterKey, hookKey, getToken, getTicket, transport = inNode ? 'sse' : 'socket', onRetry, WebSocket }) {
    this.#url = String(url).replace(/\/+$/, '');
    if (!/^https?:\/\/[^/?#]/.test(this.#url)) throw new RollcallError(0, 'invalid', `${url} is not the address of a server, such as https://presence.example.com`);
    this.#transport = checkTransport(transport);
    this.#token = getToken && new UserToken(getToken);
    this.#http = new HTTP(this.#url, { app, key, masterKey, hookKey }, this.#token);
    this.#app = app;
    this.#dialect = masterKey && { 'X-LC-Key': `${masterKey},master` };
    this.#key = key ?? masterKey;
    this.#getTicket = getTicket;
    this.#WebSocket = WebSocket;
    this.#options = {
      onRetry,
      alone: Boolean(getTicket),
      // A refused ticket is too old, or used, and a user token may have ended: the next attempt takes
      // another.
      isFinal: (err) => !err.temporary && !(getTicket && err.code === 'unauthorized') && !(getToken && err.code === 'token_expired'),
    };
    this.#shared = new SharedSockets((...args) => this.#socket(...args), this.#options);
  }

  /** Returns the status of peers, in their order. */
  async query(peers, { fields, since } = {}) {
    const ids = listOf(peers);
    const whole = since === undefined;
    const { answer, age } = await this.#http.call('POST', '/v1/peers/query', { peers: ids, fields, since }, (a) =>
      whole ? arePeers(a.peers) && a.peers.length === ids.length && a.peers.every((p, i) => p.peer === ids[i]) : arePeers(a.peers) && typeof a.token === 'string',
    );
    if (age !== undefined) for (const p of answer.peers) p.age = age;
    return whole ? answer.peers : withAge(answer, age);
  }

  /** Returns one peer, with every field that the key may see. */
  get(peer) {
    return this.#one('GET', peer, '', (a) => arePeers([a]) && a.peer === peer);
  }

  /** Returns whether to push a message to each of up to 10,000 peers, in their order; in doubt, yes. Master key. */
  async shouldPush(peers) {
    const ids = listOf(peers);
    const { answer } = await this.#http.call('POST', '/v1/peers/should-push', { peers: ids }, (a) =>
      Array.isArray(a.peers) && a.peers.length === ids.length && a.peers.every((p, i) => p?.peer === ids[i] && typeof p.push === 'boolean'),
    );
    return answer.peers;
  }

  /** Explains why a peer is shown as it is: its sessions, their leases, and the last reports. Master key. */
  why(peer) {
    return this.#one('GET', peer, '/why', (a) => arePeers([a]) && a.peer === peer);
  }

  /** Returns how long a peer was online on each of the last days. Master key. */
  async onlineTime(peer) {
    return (await this.#one('GET', peer, '/online-time', (a) => a.peer === peer && Array.isArray(a.days))).days;
  }

  /** Erases the state of a peer. Master key. */
  async erase(peer) {
    await this.#one('DELETE', peer, '', (a) => a.erased === peer);
  }

  /** Returns a page of the peers that are online, and the cursor of the next, which is empty on the last. Master key. */
  list({ cursor, limit } = {}) {
    return this.#list(cursor, limit);
  }

  async #list(cursor, limit, signal) {
    const q = new URLSearchParams({ online: '1', ...(cursor && { cursor }), ...(limit && { limit }) });
    const { answer, age } = await this.#http.call('GET', `/v1/peers?${q}`, undefined, (a) => Array.isArray(a.peers) && typeof a.cursor === 'string', {}, signal);
    return withAge(answer, age);
  }

  /**
   * Returns what changed in the app after a cursor: each peer once, with its latest state. With
   * list_again, list after this call, and go on from its cursor. wait is in seconds, up to 10.
   * Master key; for a copy that is kept by it see replicate.
   */
  changes(options = {}) {
    return changesAfter(this.#http, options);
  }

  /**
   * Keeps a copy of who is online in the app: onList is called with all ids, which replace the
   * copy, onChange with each peer that changed since, onCursor when all up to the cursor is in the
   * copy; a copy that was kept with its cursor goes on from it. Master key.
   */
  replicate(options = {}) {
    return keepReplica(this.#http, (cursor, signal) => this.#list(cursor, undefined, signal), options, this.#options);
  }

  /** Ends every session of a peer and revokes its tokens and signatures. Master key. */
  async kick(peer, { reason } = {}) {
    await this.#http.call('POST', '/1.2/rtm/client/kick', { client_id: peer, reason }, () => true, this.#dialect);
  }

  /**
   * Buys a ticket: one stream or socket, opened within 30 s by a page without a key. With peers it
   * is for exactly this list; with detail its stream has times and causes, if the key may see them.
   */
  async ticket({ peers, detail } = {}) {
    return (await this.#http.call('POST', '/v1/ticket', { peers, detail }, (a) => typeof a.ticket === 'string')).answer;
  }

  /**
   * Reports events of sessions. An event without an id gets one, so that it counts once in all
   * retries of this call, and when the same objects are reported again after a failure. Set the id
   * yourself when one event may be reported in two objects.
   */
  async report(events) {
    const list = listOf(events);
    const named = list.map((e) => (e.id === undefined ? { ...e, id: this.#idOf(e) } : e));
    const { answer } = await this.#http.call('POST', '/v1/events', { events: named }, (a) => typeof a.accepted === 'number');
    for (const e of list) this.#unsure.delete(e); // reported: from now on the same object is another event
    return answer;
  }

  /** Returns the id of an earlier report of e without an answer, or a new id. */
  #idOf(e) {
    const text = JSON.stringify(e);
    const before = this.#unsure.get(e);
    if (before?.text === text) return before.id;
    const id = randomID();
    this.#unsure.set(e, { id, text });
    return id;
  }

  /** Renews all sessions of a node for another lease, in seconds; returns the lease that counts. */
  async beat(node, { lease } = {}) {
    return (await this.#node('POST', node, 'beat', { lease }, (a) => typeof a.lease === 'number')).lease;
  }

  /** Announces that a node stops. Its sessions may reconnect elsewhere within the grace, which is returned in seconds. */
  async drain(node) {
    return (await this.#node('POST', node, 'drain', {}, (a) => typeof a.grace === 'number')).grace;
  }

  /**
   * Replaces the sessions of a node by a complete list: those on it are online, all others of the
   * node end. time, in Unix milliseconds, is the time of the list: later reports of the node stand.
   */
  async resync(node, sessions, { time } = {}) {
    return this.#node('PUT', node, 'sessions', { sessions: listOf(sessions), time }, (a) => typeof a.ended === 'number');
  }

  /**
   * Watches peers and calls onPeer with the first status of every peer and with every change. It
   * reconnects after a lost connection and resumes. The promise in done resolves after close(), or
   * rejects when a retry cannot help.
   */
  watch(peers, onPeer, { transport = this.#transport, onAge } = {}) {
    const ids = listOf(peers);
    if (checkTransport(transport) === 'socket') return this.#shared.watch(ids, { onPeer, onAge });
    return watchOverStream(this.#http, ids, { onPeer, onAge }, (ids) => this.#streamPath(ids), this.#options);
  }

  /**
   * Keeps a peer online over a socket of its own until close(), which logs it out. device is the id
   * of the device, the same at each call; default: a random id for the life of the handle. sign
   * returns time, nonce and sign from your server, for servers that require signatures.
   */
  present(peer, options) {
    return presentOverSocket((...args) => this.#socket(...args), peer, options, this.#options);
  }

  async #one(method, peer, part, is) {
    const { answer, age } = await this.#http.call(method, `/v1/peer${part}?${new URLSearchParams({ id: peer })}`, undefined, is);
    return withAge(answer, age);
  }

  async #node(method, node, part, body, is) {
    if (node === '.' || node === '..') throw new RollcallError(0, 'invalid', `a path does not carry the node id ${node}`);
    return (await this.#http.call(method, `/v1/nodes/${encodeURIComponent(node)}/${part}`, body, is)).answer;
  }

  async #streamPath(peers) {
    if (!this.#getTicket) return '/v1/watch';
    return `/v1/watch?${new URLSearchParams({ app: this.#app, ticket: await this.#getTicket({ peers }) })}`;
  }

  /** Opens a socket and sends hello; the server queues messages until it has answered the hello. */
  async #socket(peers, signal, onMessage) {
    const secret = await this.#secret(peers, signal);
    const Class = this.#WebSocket ?? globalThis.WebSocket ?? (await import('./node-socket.js')).NodeSocket;
    const socket = await Socket.open(Class, `${this.#url.replace(/^http/, 'ws')}/v1/socket`, onMessage, signal);
    const hello = socket.request({ op: 'hello', app: this.#app, ...secret });
    if (!secret.user_token) return { socket, hello };
    hello.then(
      () => this.#token.renew(socket, secret.user_token, signal),
      (err) => refused(err),
    );
    const refused = (err) => {
      if (err.code === 'token_expired' || err.code === 'unauthorized') this.#token.refuse(secret.user_token);
    };
    return { socket, hello, refused };
  }

  /** Returns what a hello shows. */
  async #secret(peers, signal) {
    if (this.#getTicket) return { ticket: await unlessAborted(this.#getTicket({ peers }), signal) };
    if (this.#token) return { user_token: await unlessAborted(this.#token.text(), signal) };
    return { key: this.#key };
  }
}

/** Copies a list. A string is refused: it is iterable, but its characters are no list of ids. */
function listOf(items) {
  if (typeof items === 'string' || typeof items?.[Symbol.iterator] !== 'function') throw new RollcallError(0, 'invalid', 'a list is expected');
  return [...items];
}

function checkTransport(transport) {
  if (transport !== 'socket' && transport !== 'sse') throw new RollcallError(0, 'invalid', `there is no transport ${transport}; there are socket and sse`);
  return transport;
}

function arePeers(peers) {
  return Array.isArray(peers) && peers.every((p) => typeof p?.peer === 'string' && typeof p.status === 'string');
}

function withAge(answer, age) {
  if (age !== undefined) answer.age = age;
  return answer;
}
