// A chat server that reports its own connections to rollcall, see README.md. It speaks lines over TCP: the first line from
// a client is its name, every other goes to all.

import { randomUUID } from 'node:crypto';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { Rollcall } from 'rollcall-client';
import { Reporter } from './reporter.js';

const {
  ROLLCALL_URL = 'http://127.0.0.1:3000', ROLLCALL_APP, ROLLCALL_HOOK_KEY, CHAT_LISTEN = '127.0.0.1:4000', CHAT_NODE = 'chat-1', CHAT_LEASE = '15s',
} = process.env;

const rollcall = new Rollcall({ url: ROLLCALL_URL, app: ROLLCALL_APP, hookKey: ROLLCALL_HOOK_KEY });
// The name of this machine's chat server, and its start: after a crash the next process is another node.
const node = `${CHAT_NODE}@${Date.now()}`;
const reporter = new Reporter(rollcall, node, Number.parseInt(CHAT_LEASE, 10));
const members = new Map();

const server = createServer((conn) => {
  const session = randomUUID(); // one connection, one session
  let name;
  let why = 'lost';
  conn.on('error', () => {});
  const lines = createInterface({ input: conn });
  lines.on('error', () => {});
  lines.on('line', (line) => {
    if (name === undefined) {
      if (line === '' || Buffer.byteLength(line) > 256) return conn.end('! the first line is your name, of 1 to 256 bytes\n');
      name = line;
      members.set(session, conn);
      reporter.connected(name, session);
      conn.write(`* welcome, ${name}\n`);
    } else if (line === '/quit') {
      why = 'logout'; // watchers learn it at once; of a lost connection after a moment in which it may come back
      conn.end(() => conn.destroy());
    } else {
      for (const other of members.values()) other.write(`${name}: ${line}\n`);
    }
  });
  conn.on('close', () => {
    if (members.delete(session)) reporter.gone(name, session, why);
  });
});

const [host, port] = CHAT_LISTEN.split(':');
server.listen(Number(port), host, () => {
  const { address, port } = server.address();
  console.error(`node ${node} listens on ${address}:${port}`);
});
reporter.start();

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    server.close();
    reporter.drain().then(
      () => process.exit(0),
      (err) => {
        console.error(`drain failed: ${err.message}`);
        process.exit(1);
      },
    );
  });
}
