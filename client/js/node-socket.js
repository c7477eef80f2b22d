// As much of a WebSocket as the client needs, for Node before 22, which has none of its own.

import { createHash, randomBytes } from 'node:crypto';
import { request as http } from 'node:http';
import { request as https } from 'node:https';

const LARGEST = 1 << 20;

export class NodeSocket {
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  #request = null;
  #socket = null;
  #rest = Buffer.alloc(0);
  #message = [];
  #closed = false;

  constructor(url) {
    const target = new URL(url.replace(/^ws/, 'http'));
    const key = randomBytes(16).toString('base64');
    const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    const req = (target.protocol === 'https:' ? https : http)(target, {
      timeout: 30_000,
      headers: { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': key },
    });
    this.#request = req;
    req.on('error', () => this.#end());
    req.on('timeout', () => req.destroy());
    req.on('response', (res) => {
      res.resume();
      this.#end();
    });
    req.on('upgrade', (res, socket, head) => {
      if (res.headers['sec-websocket-accept'] !== accept) {
        socket.destroy();
        return this.#end();
      }
      this.#socket = socket;
      socket.setTimeout(0);
      socket.setNoDelay(true);
      socket.on('error', () => this.#end());
      socket.on('close', () => this.#end());
      socket.on('end', () => this.#end());
      this.onopen?.();
      socket.on('data', (b) => this.#take(b));
      if (head.length) this.#take(head);
    });
    req.end();
  }

  send(text) {
    if (!this.#socket || this.#closed) throw new Error('the socket is closed');
    this.#frame(1, Buffer.from(text));
  }

  close() {
    if (this.#socket && !this.#closed) {
      this.#frame(8, Buffer.from([3, 232]));
      this.#socket.end();
      this.#socket.destroySoon();
    }
    this.#end();
  }

  #end() {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#socket) this.#socket.destroySoon();
    else this.#request.destroy(); // not open yet
    (this.onclose ?? this.onerror)?.();
  }

  #frame(op, payload) {
    const n = payload.length;
    const head = n < 126 ? [n] : n < 65536 ? [126, n >> 8, n & 255] : [127, 0, 0, 0, 0, n >>> 24, (n >> 16) & 255, (n >> 8) & 255, n & 255];
    head[0] |= 0x80;
    const mask = randomBytes(4);
    this.#socket.write(Buffer.concat([Buffer.from([0x80 | op, ...head]), mask, payload.map((c, i) => c ^ mask[i & 3])]));
  }

  #take(bytes) {
    this.#rest = this.#rest.length ? Buffer.concat([this.#rest, bytes]) : bytes;
    while (!this.#closed && this.#rest.length >= 2) {
      const [first, second] = this.#rest;
      let n = second & 127;
      let at = 2;
      if (n === 126) {
        if (this.#rest.length < 4) return;
        n = this.#rest.readUInt16BE(2);
        at = 4;
      } else if (n === 127) {
        if (this.#rest.length < 10) return;
        n = Number(this.#rest.readBigUInt64BE(2));
        at = 10;
      }
      if (n > LARGEST) return this.#end();
      if (this.#rest.length < at + n) return;
      const payload = this.#rest.subarray(at, at + n);
      this.#rest = this.#rest.subarray(at + n);
      this.#hear(first & 15, (first & 128) !== 0, payload);
    }
  }

  #hear(op, fin, payload) {
    if (op === 8) return this.#end();
    if (op === 9) return this.#frame(10, Buffer.from(payload));
    if (op === 10) return;
    this.#message.push(payload);
    if (!fin) return;
    const data = Buffer.concat(this.#message).toString();
    this.#message = [];
    this.onmessage?.({ data });
  }
}
