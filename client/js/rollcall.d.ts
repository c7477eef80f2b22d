export type Status = 'online' | 'offline' | 'unknown';

export interface Peer {
  peer: string;
  status: Status;
  /** Unix milliseconds; the app key does not get it. */
  since?: number;
  last_seen?: number;
  cause?: string;
  devices?: string[];
  activity?: Activity;
  /** When the user last did something, Unix milliseconds. */
  active_at?: number;
  reachable?: 'yes' | 'quiet' | 'no' | 'unknown';
  sessions?: PeerSession[];
  version?: number;
  /** Seconds since the server could last read its store. Absent while the answer is fresh. */
  age?: number;
}

export interface Answer {
  peers: Peer[];
  /** The answer has every peer, not only the changed ones. */
  complete: boolean;
  /** The value of since for the next query of the same list. */
  token: string;
  /** As in Peer. */
  age?: number;
}

export interface Page {
  peers: string[];
  /** The cursor of the next page; empty on the last page. */
  cursor: string;
  /** As in Peer. */
  age?: number;
}

export interface Changes {
  /** Each peer once, with its latest state. */
  changes: Peer[];
  /** The cursor of the next call. */
  cursor: string;
  /** Not all changes are known: list after this call, and go on from its cursor. */
  list_again: boolean;
  /** There are more already. */
  more: boolean;
  /** As in Peer. */
  age?: number;
}

export interface Replica {
  /** Where an earlier replica stopped, if its copy was kept too. Absent: it begins with a list. */
  cursor?: string;
  /** Called with the ids of all peers that are online; they replace the copy. */
  onList?: (online: string[]) => void;
  /** Called with each peer that changed since, in order. The same state may come again. */
  onChange?: (peer: Peer) => void;
  /** Called when all up to cursor is in the copy. */
  onCursor?: (cursor: string) => void;
  /** Called while the server cannot read its store, with the seconds since it could, and with 0 when it can again. */
  onAge?: (age: number) => void;
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
  /** The time of its begin, in Unix milliseconds. */
  time?: number;
  inc?: number;
  platform?: string;
  /** Seconds. */
  ttl?: number;
}

export interface Event {
  peer: string;
  state: 'online' | 'offline' | 'touch' | 'end_all' | 'reach';
  session?: string;
  /** Of the ids of the sessions that an end_all ends; absent: all. */
  prefix?: string;
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
  /** Of an online or a touch of a session. */
  activity?: Activity;
  /** With activity: when the user last did something, Unix milliseconds. */
  active_at?: number;
  /** Of a reach: whether pushes get to the platform. */
  reach?: 'yes' | 'quiet' | 'no';
}

export interface Tally {
  accepted: number;
  double: number;
  late: number;
  stale: number;
  ignored: number;
  full: number;
  /** Accepted events whose lease had expired at receipt; absent when there are none. */
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
   * Returns a user token of the logged-in user from your server: a JSON Web Token. The client calls it before the first
   * call and before each token ends, and renews the token of open sockets. In place of a key.
   */
  getToken?: () => Promise<string>;
  /**
   * Buys a ticket from your server, for a page without a key. The client calls it for every stream and socket that it
   * opens, with the peers of that stream or socket.
   */
  getTicket?: (wanted: { peers: string[] }) => Promise<string>;
  /** The transport of watches: sse opens one connection for each watch, socket shares one. Default: socket in browsers, sse in Node. */
  transport?: Transport;
  /** Called with every failure of a watch or a presence before its retry. */
  onRetry?: (err: RollcallError) => void;
  /** A WebSocket class, for runtimes without a global one. */
  WebSocket?: unknown;
}

export interface Handle {
  /** Resolves when the handle is closed, or rejects with a RollcallError when a retry cannot help. */
  done: Promise<void>;
  close(): Promise<void>;
}

export type Field = 'since' | 'last_seen' | 'cause' | 'devices' | 'activity' | 'active_at' | 'reachable' | 'sessions';

/** An open session, or the last that ended on its platform when none is open there. Times in Unix milliseconds. */
export interface PeerSession {
  source: string;
  session?: string;
  platform?: string;
  open: boolean;
  since?: number;
  last_seen?: number;
  cause?: string;
  activity?: Activity;
  active_at?: number;
}

/** What the user does: uses the app, has it on the screen, or has it behind others. */
export type Activity = 'foreground' | 'idle' | 'background';

/** A presence that says what its user does. */
export interface PresenceHandle extends Handle {
  /** At most one word in 5 s is sent, the last. activeAt: when the user last did something, Unix milliseconds. */
  setActivity(activity: Activity, options?: { activeAt?: number }): void;
}

export interface Push {
  peer: string;
  push: boolean;
  /** Without a sound. */
  quiet: boolean;
  why: 'foreground' | 'unreachable' | 'idle' | 'background' | 'online' | 'offline' | 'unknown' | 'stale';
}

export interface Presence {
  /** The id of the device, the same at each call. Default: a random id for the life of the handle. */
  device?: string;
  /** Device class: of one tag one device is present. */
  tag?: string;
  platform?: string;
  /** What the user does now; setActivity changes it. */
  activity?: Activity;
  /** Returns a login signature of the peer from your server. Called before each connection; for servers that require signatures. */
  sign?: (peer: string) => Promise<{ time: number; nonce: string; sign: string }>;
  onChange?: (present: boolean) => void;
}

export interface Watching {
  transport?: Transport;
  /**
   * Called while the server cannot read its store, with the seconds since it could, and with 0 when it can again. Until
   * then the updates so far may be stale, and new ones may be missing.
   */
  onAge?: (age: number) => void;
}

export class RollcallError extends Error {
  /** The HTTP status; 0 without an answer. */
  status: number;
  /** A code of the server (docs/api.md), unreachable, or not_rollcall. */
  code: string;
  /** Seconds. */
  retryAfter: number;
  /** The limit that the call exceeded. */
  limit?: number;
  /** Whether a retry may help. */
  readonly temporary: boolean;
}

export class Rollcall {
  constructor(options: Options);
  query(peers: Iterable<string>, options?: { fields?: Field[]; since?: undefined }): Promise<Peer[]>;
  query(peers: Iterable<string>, options: { fields?: Field[]; since: string }): Promise<Answer>;
  get(peer: string): Promise<Peer>;
  /** Whether to push a message to each of up to 10,000 peers; in doubt, yes. Needs the master key. */
  shouldPush(peers: Iterable<string>): Promise<Push[]>;
  list(options?: { cursor?: string; limit?: number }): Promise<Page>;
  /** wait is in seconds, up to 10. */
  changes(options?: { cursor?: string; limit?: number; wait?: number }): Promise<Changes>;
  replicate(options?: Replica): Handle;
  why(peer: string): Promise<Why>;
  onlineTime(peer: string): Promise<{ day: string; online_ms: number }[]>;
  erase(peer: string): Promise<void>;
  kick(peer: string, options?: { reason?: string }): Promise<void>;
  /** expires: the latest time to use the ticket; ends: the end of the streams that it opens. Unix milliseconds. */
  ticket(options?: { peers?: string[]; detail?: boolean }): Promise<{ ticket: string; expires: number; ends: number }>;
  report(events: Event[]): Promise<Tally>;
  beat(node: string, options?: { lease?: number }): Promise<number>;
  drain(node: string): Promise<number>;
  resync(node: string, sessions: Session[], options?: { time?: number }): Promise<Tally & { ended: number }>;
  watch(peers: Iterable<string>, onPeer: (peer: Peer) => void, options?: Watching): Handle;
  present(peer: string, options?: Presence): PresenceHandle;
}
