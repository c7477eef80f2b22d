export type Status = 'online' | 'offline' | 'unknown';

export interface Peer {
  peer: string;
  status: Status;
  /** Unix milliseconds; the app key does not get it. */
  since?: number;
  last_seen?: number;
  cause?: string;
  devices?: string[];
  version?: number;
  /** Seconds since the server could last read its store. Absent while the answer is as fresh as it can be. */
  age?: number;
}

export interface Answer {
  peers: Peer[];
  /** The answer has every peer, not only those that may have changed. */
  complete: boolean;
  /** For since of the next question about the same list. */
  token: string;
  /** As in Peer. */
  age?: number;
}

export interface Page {
  peers: string[];
  /** Of the next page; empty on the last. */
  cursor: string;
  /** As in Peer. */
  age?: number;
}

/** Why a peer is shown as it is; docs/api.md and the server's /openapi/ describe the rest. */
export interface Why {
  peer: string;
  status: Status;
  why: string;
  since?: number;
  last_seen?: number;
  /** As in Peer. */
  age?: number;
  [more: string]: unknown;
}

export interface Session {
  peer: string;
  session: string;
  /** When it began, in Unix milliseconds. */
  time?: number;
  inc?: number;
  platform?: string;
  /** Seconds. */
  ttl?: number;
}

export interface Event {
  peer: string;
  state: 'online' | 'offline' | 'touch';
  session?: string;
  node?: string;
  /** Unix milliseconds. */
  time?: number;
  inc?: number;
  /** Any number that rises with the events of a session; of two with the same time the greater one is later. */
  seq?: number;
  platform?: string;
  why?: string;
  /** Names the event, so that it counts once. The client makes one when it is absent. */
  id?: string;
  /** Seconds. */
  ttl?: number;
}

export interface Tally {
  accepted: number;
  double: number;
  late: number;
  stale: number;
  ignored: number;
  full: number;
  /** Taken, and their lease was over when they came; left out when there are none. */
  expired_on_arrival?: number;
  errors?: { index: number; code: string; error: string; field?: string }[];
}

export type Transport = 'socket' | 'sse';

export interface Options {
  /** The server's own address, such as https://presence.example.com; redirects are not followed. */
  url: string;
  app: string;
  /** App key: status only. */
  key?: string;
  /** Master key: servers only; never in a browser. */
  masterKey?: string;
  /** Hook key: reports only. */
  hookKey?: string;
  /**
   * Buys a ticket from your server, for a page that has no key. It is called for every stream and socket that is opened,
   * with the peers that it is for.
   */
  getTicket?: (wanted: { peers: string[] }) => Promise<string>;
  /** How watches travel: sse takes a connection for each, socket shares one. In browsers socket, in Node sse. */
  transport?: Transport;
  /** Called with every failure of a watch or a presence that is followed by a retry. */
  onRetry?: (err: RollcallError) => void;
  /** For surroundings that have no WebSocket of their own. */
  WebSocket?: unknown;
}

export interface Handle {
  /** Resolves when the handle is closed, or rejects with a RollcallError that a retry would not change. */
  done: Promise<void>;
  close(): Promise<void>;
}

export type Field = 'since' | 'last_seen' | 'cause' | 'devices';

export interface Presence {
  /** What the peer is on, the same each time. Left out, it is a random id that lives as long as the handle. */
  device?: string;
  /** Device class: of one tag one device is present. */
  tag?: string;
  platform?: string;
  /** Asks your server for a login signature of the peer, before each connection, where the server wants them. */
  sign?: (peer: string) => Promise<{ time: number; nonce: string; sign: string }>;
  onChange?: (present: boolean) => void;
}

export interface Watching {
  transport?: Transport;
  /**
   * Called while the server cannot read its store, with for how many seconds, and with 0 when it can again: until then
   * the updates so far may be old, and there may be none.
   */
  onAge?: (age: number) => void;
}

export class RollcallError extends Error {
  /** Of HTTP; 0 when no answer came. */
  status: number;
  /** One of the server's, or unreachable, or not_rollcall. */
  code: string;
  /** Seconds. */
  retryAfter: number;
  /** The limit that the call passed. */
  limit?: number;
  /** Whether a retry may help. */
  readonly temporary: boolean;
}

export class Rollcall {
  constructor(options: Options);
  query(peers: Iterable<string>, options?: { fields?: Field[]; since?: undefined }): Promise<Peer[]>;
  query(peers: Iterable<string>, options: { fields?: Field[]; since: string }): Promise<Answer>;
  get(peer: string): Promise<Peer>;
  list(options?: { cursor?: string; limit?: number }): Promise<Page>;
  why(peer: string): Promise<Why>;
  onlineTime(peer: string): Promise<{ day: string; online_ms: number }[]>;
  erase(peer: string): Promise<void>;
  kick(peer: string, options?: { reason?: string }): Promise<void>;
  /** expires: when it must have been used; ends: when what it opened ends. Unix milliseconds. */
  ticket(options?: { peers?: string[]; detail?: boolean }): Promise<{ ticket: string; expires: number; ends: number }>;
  report(events: Event[]): Promise<Tally>;
  beat(node: string, options?: { lease?: number }): Promise<number>;
  drain(node: string): Promise<number>;
  resync(node: string, sessions: Session[], options?: { time?: number }): Promise<Tally & { ended: number }>;
  watch(peers: Iterable<string>, onPeer: (peer: Peer) => void, options?: Watching): Handle;
  present(peer: string, options?: Presence): Handle;
}
