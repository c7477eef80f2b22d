// What the client does while a server is in trouble. It says what is wrong, and nothing when nothing is.
import { createServer as http } from 'node:http';
import { createServer as tcp } from 'node:net';
import { once } from 'node:events';
import { Rollcall } from '../../js/rollcall.js';

process.on('warning', (w) => console.log(String(w)));

// Its waits are a thousand times shorter here.
const { setTimeout: later } = globalThis;
globalThis.setTimeout = (fn, ms, ...args) => later(fn, ms / 1000, ...args);

const client = (server) => new Rollcall({ url: `http://127.0.0.1:${server.address().port}`, app: 'a', key: 'k' });

// A long outage: whoever tries again and again keeps nothing of the attempts. The second time the socket opens first and says nothing good.
for (const opens of [false, true]) {
  const calls = { watch: 0, socket: 0 };
  const server = http((req, res) => {
    calls.watch++;
    res.writeHead(503).end('{"code":"unavailable","error":"not now"}');
  });
  server.on('upgrade', async (req, socket) => {
    calls.socket++;
    socket.on('error', () => {});
    if (!opens) return socket.end('HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n');
    const { createHash } = await import('node:crypto');
    const accept = createHash('sha1').update(`${req.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
    socket.once('data', () => socket.end(Buffer.from([0x88, 0])));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const c = client(server);
  const handles = [c.watch(['tom'], () => {}), c.present('tom')];
  while (calls.watch < 25 || calls.socket < 25) await new Promise((done) => setImmediate(done));
  await Promise.all(handles.map((h) => h.close()));
  server.closeAllConnections();
  server.close();
}

// A network that swallows everything: close does not wait for what it will never hear.
const hole = tcp((socket) => socket.on('error', () => {}));
hole.listen(0, '127.0.0.1');
await once(hole, 'listening');
globalThis.setTimeout = later;
const me = client(hole).present('tom');
const [swallowed] = await once(hole, 'connection');
await me.close();
swallowed.destroy();
hole.close();
console.log('done');
process.exit(0);
