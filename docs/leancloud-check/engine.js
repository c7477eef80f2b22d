'use strict';
// The hooks of a LeanEngine app, as they are deployed for LeanCloud's IM service, on npm's own leanengine. It prints what it
// hears, a JSON object a line: node engine.js PORT (0 for a free one). Point rollcall's hooks.url at it.

const http = require('http');
const AV = require('leanengine');

AV.init({
  appId: process.env.LEANCLOUD_APP_ID,
  appKey: process.env.LEANCLOUD_APP_KEY,
  masterKey: process.env.LEANCLOUD_APP_MASTER_KEY,
  hookKey: process.env.LEANCLOUD_APP_HOOK_KEY,
  serverURL: 'http://127.0.0.1:1', // the storage service, which nothing here calls
});

const say = (hook) => (request) => console.log(JSON.stringify({ hook, params: request.params }));

AV.Cloud.onIMClientOnline(say('online'));
AV.Cloud.onIMClientOffline(say('offline'));

const server = http.createServer(AV.express());
server.listen(Number(process.argv[2]), '127.0.0.1', () => {
  console.log(JSON.stringify({ hook: 'ready', params: { port: server.address().port } }));
});
