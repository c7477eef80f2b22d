'use strict';

// The presence recipe of LeanCloud's guide, as an app on LeanEngine runs it: two hooks that write to Redis and a cloud
// function that reads. The hooks answer without waiting for Redis, as the guide's do.

const http = require('http');
const AV = require('leanengine');
const Redis = require('ioredis');

const week = 7 * 24 * 60 * 60; // seconds that an offline peer is remembered

const redis = new Redis(process.env.REDIS_URL_bench);

AV.init({
  appId: process.env.LEANCLOUD_APP_ID,
  appKey: process.env.LEANCLOUD_APP_KEY,
  masterKey: process.env.LEANCLOUD_APP_MASTER_KEY,
  hookKey: process.env.LEANCLOUD_APP_HOOK_KEY,
  serverURL: 'http://127.0.0.1:1', // the storage service, which nothing here calls
});

AV.Cloud.onIMClientOnline((request) => {
  redis.set(request.params.peerId, 1);
});

AV.Cloud.onIMClientOffline((request) => {
  redis.set(request.params.peerId, 0, 'EX', week);
});

AV.Cloud.define('getOnOffStatus', (request) => redis.mget(request.params.peerIds));

const app = process.env.BENCH_TEMPLATE ? template() : AV.express();
http.createServer(app).listen(Number(process.env.LEANCLOUD_APP_PORT), '127.0.0.1');

// What a request passes in the Express app that LeanCloud's command line tool lays out for a new project. Without it the
// engine's own middleware is the whole app, as under AV.Cloud.start(): the cheapest form there is.
function template() {
  const app = require('express')();
  app.use(require('connect-timeout')('15s'));
  app.use(AV.express());
  app.enable('trust proxy');
  return app;
}
