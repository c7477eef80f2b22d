'use strict';
// Serves the page, rollcall's client, and tickets: see README.md.

const { readFileSync } = require('node:fs');
const { createServer } = require('node:http');
const { join } = require('node:path');

const { ROLLCALL_URL = 'http://127.0.0.1:3000', ROLLCALL_APP_ID, ROLLCALL_MASTER_KEY, LISTEN = '127.0.0.1:8080' } = process.env;

if (!ROLLCALL_APP_ID || !ROLLCALL_MASTER_KEY) {
  console.error('set ROLLCALL_APP_ID and ROLLCALL_MASTER_KEY');
  process.exit(1);
}
const page = readFileSync(join(__dirname, 'index.html'), 'utf8').replace('URL_OF_ROLLCALL', ROLLCALL_URL).replace('ID_OF_THE_APP', ROLLCALL_APP_ID);
const files = {
  '/': ['text/html; charset=utf-8', page],
  '/rollcall.js': ['text/javascript', readFileSync(join(__dirname, '../../client/js/rollcall.js'))],
};

/** Buys a ticket for these peers. Check here who is logged in, and which users they may watch. */
async function ticket(peers) {
  const res = await fetch(`${ROLLCALL_URL}/v1/ticket`, {
    method: 'POST',
    headers: { 'X-LC-Id': ROLLCALL_APP_ID, Authorization: `Bearer ${ROLLCALL_MASTER_KEY}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ peers }),
  });
  if (!res.ok) throw new Error(`no ticket: ${res.status} ${await res.text()}`);
  return (await res.json()).ticket;
}

async function answer(req, res) {
  const { pathname } = new URL(req.url, 'http://page');
  if (req.method === 'POST' && pathname === '/ticket') {
    let body = '';
    for await (const chunk of req) {
      body += chunk;
      if (body.length > 65536) return res.writeHead(413).end('too many peers\n');
    }
    return res.end(await ticket(JSON.parse(body)));
  }
  const file = files[pathname];
  if (!file) return res.writeHead(404).end('not found\n');
  res.writeHead(200, { 'Content-Type': file[0] }).end(file[1]);
}

const [host, port] = LISTEN.split(':');
const server = createServer((req, res) => answer(req, res).catch((err) => {
  console.error(err.message);
  res.writeHead(502).end('no ticket\n');
}));
server.listen(Number(port), host, () => console.log(`the page is at http://${host}:${server.address().port}/`));
