// Signs a user up, who stays connected to LiveQuery until this process ends; prints the id and the status.

import { createRequire } from 'node:module';

const Parse = createRequire(import.meta.url)('parse/node');
const { PARSE = 'http://127.0.0.1:1337/parse', LIVEQUERY = 'ws://127.0.0.1:1337', ROLLCALL_APP_ID: app, ROLLCALL_APP_KEY: key } = process.env;
Parse.initialize(app, key);
Parse.serverURL = PARSE;

const user = await Parse.User.signUp(`stays-${Date.now()}`, 'a password');
const client = new Parse.LiveQueryClient({ applicationId: app, javascriptKey: key, serverURL: LIVEQUERY, sessionToken: user.getSessionToken() });
client.on('error', () => {}); // it connects again by itself
client.open();
for (let last; ; await new Promise((next) => setTimeout(next, 200))) {
  const [status] = await Parse.Cloud.run('getOnOffStatus', { peerIds: [user.id] }).catch(() => [last]);
  if (status !== last) console.log(`${user.id} is ${status}`);
  last = status;
}
