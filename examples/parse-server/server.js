// A Parse Server with LiveQuery on one port, whose cloud code knows who is online: see docs/parse-server.md.

import { createServer } from 'node:http';
import express from 'express';
import { ParseServer } from 'parse-server';

const { ROLLCALL_APP_ID, ROLLCALL_APP_KEY, ROLLCALL_MASTER_KEY, DATABASE_URI, LISTEN = '127.0.0.1:1337' } = process.env;
const [host, port] = LISTEN.split(':');

const parse = new ParseServer({
  databaseURI: DATABASE_URI ?? (await trialDatabase()),
  appId: ROLLCALL_APP_ID,
  javascriptKey: ROLLCALL_APP_KEY,
  clientKey: ROLLCALL_APP_KEY,
  restAPIKey: ROLLCALL_APP_KEY,
  masterKey: ROLLCALL_MASTER_KEY,
  serverURL: `http://${LISTEN}/parse`,
  cloud: () => import('./cloud/main.js'),
  liveQuery: { classNames: ['Message'] },
});
await parse.start();
const app = express();
app.use('/parse', parse.app);
const http = createServer(app);
await ParseServer.createLiveQueryServer(http);
http.listen(Number(port), host, () => console.error(`parse-server listens on ${LISTEN}`));

/** A Postgres in this process that keeps nothing, to try the example without a database. */
async function trialDatabase() {
  const { PGlite } = await import('@electric-sql/pglite');
  const { PGLiteSocketServer } = await import('@electric-sql/pglite-socket');
  const postgres = new PGLiteSocketServer({ db: await PGlite.create(), host: '127.0.0.1', port: 0 });
  await postgres.start();
  return `postgres://postgres@${postgres.getServerConn()}/postgres?max=1`; // it serves one connection at a time
}
