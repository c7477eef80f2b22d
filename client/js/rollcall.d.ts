export type Status = 'online' | 'offline' | 'unknown';

export interface Peer {
  peer: string;
  status: Status;
  /** Unix milliseconds; not told to the app key. */
  since?: number;
  last_seen?: number;
  cause?: string;
  devices?: string[];
  version?: number;
}

export interface Answer {
  peers: Peer[];
  /** Every peer is told, not only those that may have changed. */
  complete: boolean;
  /** For since of the next question about the same list. */
  token: string;
}

export interface Event {
  peer: string;
  state: 'online' | 'offline' | 'touch';
  session?: string;
  node?: string;
  /** Unix milliseconds. */
  time?: number;
  inc?: number;
  platform?: string;
  why?: string;
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
  errors?: { index: number; code: string; error: string }[];
}

export interface Options {
  /** Such as https://presence.example.com. */
  url: string;
  app: string;
  /** App key: status only. */
  key?: string;
  /** Master key: servers only; never in a browser. */
  masterKey?: string;
  /** Hook key: reports only. */
  hookKey?: string;
  /** For surroundings that have no WebSocket of their own. */
  WebSocket?: unknown;
}

export interface Handle {
  /** Ends when it is closed, or fails with a refusal that trying again would not change. */
  done: Promise<void>;
  close(): Promise<void>;
}

export type Field = 'since' | 'last_seen' | 'cause' | 'devices';

export interface Presence {
  /** Tells this device from the peer's others, so that it takes its own place when it comes back. */
  device?: string;
  /** Device class: of one tag one device is present. */
  tag?: string;
  platform?: string;
  onChange?: (present: boolean) => void;
}

export class RollcallError extends Error {
  status: number;
  code: string;
  /** Seconds. */
  retryAfter: number;
  readonly temporary: boolean;
}

export class Rollcall {
  constructor(options: Options);
  query(peers: string[], options?: { fields?: Field[]; since?: undefined }): Promise<Peer[]>;
  query(peers: string[], options: { fields?: Field[]; since: string }): Promise<Answer>;
  get(peer: string): Promise<Peer>;
  report(events: Event[]): Promise<Tally>;
  watch(peers: Iterable<string>, onPeer: (peer: Peer) => void): Handle;
  present(peer: string, options?: Presence): Handle;
}
