
import { RollcallError } from './error.js';
import { HTTP } from './http.js';
import { presentOverSocket } from './present.js';
import { randomID, unlessAborted } from './retry.js';
import { SharedSockets } from './shared.js';
import { Socket } from './socket.js';
import { watchOverStream } from './stream.js';

export { RollcallError };

// A browser has six connections to a server over HTTP/1.1, and a stream takes one for good: there watches share a socket.
const inNode = globalThis.process?.versions?.node !== undefined && globalThis.document === undefined;

export class Rollcall {
  #http;
  #url;
  #app;
  #dialect; // what LeanCloud's calls want for the master key
  #key;
  #getTicket;
  #WebSocket;
  #transport;
  #shared;
  #options;
  #unsure = new WeakMap(); // events whose report has not been answered

  constructor({ url, app, key, masterKey, hookKey, getTicket, transport = inNode ? 'sse' : 'socket', onRetry, WebSocket }) {
    this.#url = String(url).replace(/\/+$/, '');
    if (!/^https?:\/\/[^/?#]/.test(this.#url)) throw new RollcallError(0, 'invalid', `${url} is not the address of a server, such as https://presence.example.com`);
    this.#transport = checkTransport(transport);
    this.#http = new HTTP(this.#url, { app, key, masterKey, hookKey });
    this.#app = app;
    this.#dialect = masterKey && { 'X-LC-Key': `${masterKey},master` };
    this.#key = key ?? masterKey;
    this.#getTicket = getTicket;
    this.#WebSocket = WebSocket;
    this.#options = {
      onRetry,
      alone: Boolean(getTicket),
      // A ticket that was refused is too old, or used: the next attempt buys another.
      isFinal: (err) => !err.temporary && !(getTicket && err.code === 'unauthorized'),
    };
    this.#shared = new SharedSockets((...args) => this.#socket(...args), this.#options);
  }

  /** Asks what peers are; the answers come in their order. */
  async query(peers, { fields, since } = {}) {
    const ids = listOf(peers);
    const whole = since === undefined;
    const { answer, age } = await this.#http.call('POST', '/v1/peers/query', { peers: ids, fields, since }, (a) =>
      whole ? arePeers(a.peers) && a.peers.length === ids.length && a.peers.every((p, i) => p.peer === ids[i]) : arePeers(a.peers) && typeof a.token === 'string',
    );
    if (age !== undefined) for (const p of answer.peers) p.age = age;
    return whole ? answer.peers : withAge(answer, age);
  }

  /** Asks what one peer is, with all that the key may see. */
  get(peer) {
    return this.#one('GET', peer, '', (a) => arePeers([a]) && a.peer === peer);
  }

  /** Explains why a peer is shown as it is: its sessions, their leases, and the last reports. Master key. */
  why(peer) {
    return this.#one('GET', peer, '/why', (a) => arePeers([a]) && a.peer === peer);
  }

  /** Asks how long a peer was online on each of the last days. Master key. */
  async onlineTime(peer) {
    return (await this.#one('GET', peer, '/online-time', (a) => a.peer === peer && Array.isArray(a.days))).days;
  }

  /** Forgets a peer. Master key. */
  async erase(peer) {
    await this.#one('DELETE', peer, '', (a) => a.erased === peer);
  }

  /** Returns a page of the peers that are online, and the cursor of the next, which is empty on the last. Master key. */
  async list({ cursor, limit } = {}) {
    const q = new URLSearchParams({ online: '1', ...(cursor && { cursor }), ...(limit && { limit }) });
    const { answer, age } = await this.#http.call('GET', `/v1/peers?${q}`, undefined, (a) => Array.isArray(a.peers) && typeof a.cursor === 'string');
    return withAge(answer, age);
  }

  /** Ends every session of a peer and voids what it logged in with. Master key. */
  async kick(peer, { reason } = {}) {
    await this.#http.call('POST', '/1.2/rtm/client/kick', { client_id: peer, reason }, () => true, this.#dialect);
  }

  /**
   * Buys a ticket: one stream or socket, opened within 30 s by a page that has no key. With peers it is for exactly this list;
   * with detail it shows times and causes, if the key may see them.
   */
  async ticket({ peers, detail } = {}) {
    return (await this.#http.call('POST', '/v1/ticket', { peers, detail }, (a) => typeof a.ticket === 'string')).answer;
  }

  /**
   * Reports what happened to sessions. An event without an id gets one, so that it counts once however often this call is
   * retried, and again when the same objects are reported after a failure. Give ids yourself where you may report one event
   * in two objects.
   */
  async report(events) {
    const list = listOf(events);
    const named = list.map((e) => (e.id === undefined ? { ...e, id: this.#idOf(e) } : e));
    const { answer } = await this.#http.call('POST', '/v1/events', { events: named }, (a) => typeof a.accepted === 'number');
    for (const e of list) this.#unsure.delete(e); // from now on the same object is another event
    return answer;
  }

  /** The id under which e may have arrived already, or a new one. */
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

  /** Says that a node stops: its sessions have the grace, in seconds, which is returned, to come back elsewhere. */
  async drain(node) {
    return (await this.#node('POST', node, 'drain', {}, (a) => typeof a.grace === 'number')).grace;
  }

  /**
   * Replaces the sessions of a node by a complete list: those on it are online, all others of the node end. time, in Unix
   * milliseconds, is when the list was made: later reports of the node stand.
   */
  async resync(node, sessions, { time } = {}) {
    return this.#node('PUT', node, 'sessions', { sessions: listOf(sessions), time }, (a) => typeof a.ended === 'number');
  }

  /**
   * Follows peers and calls onPeer for every peer whose status is first known or another than onPeer got last. It
   * connects again after a break and goes on where it was. The promise in done ends after close(), or with a refusal that
   * a retry would not change.
   */
  watch(peers, onPeer, { transport = this.#transport, onAge } = {}) {
    const ids = listOf(peers);
    if (checkTransport(transport) === 'socket') return this.#shared.watch(ids, { onPeer, onAge });
    return watchOverStream(this.#http, ids, { onPeer, onAge }, (ids) => this.#streamPath(ids), this.#options);
  }

  /**
   * Keeps a peer online over a socket of its own until close(), which logs it out. device names what the peer is on, the
   * same each time; left out, it is a random id that lives as long as the handle. sign returns time, nonce and sign, made by
   * your server, where the server wants signatures.
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

  /** Opens a socket and says hello on it; what is asked before hello is answered waits at the server. */
  async #socket(peers, signal, onMessage) {
    const secret = this.#getTicket ? { ticket: await unlessAborted(this.#getTicket({ peers }), signal) } : { key: this.#key };
    const Class = this.#WebSocket ?? globalThis.WebSocket ?? (await import('./node-socket.js')).NodeSocket;
    const socket = await Socket.open(Class, `${this.#url.replace(/^http/, 'ws')}/v1/socket`, onMessage, signal);
    return { socket, hello: socket.request({ op: 'hello', app: this.#app, ...secret }) };
  }
}

/** A list of its own. A string is none, though it is iterable: its characters are not meant. */
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
