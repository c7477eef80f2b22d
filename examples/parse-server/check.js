// Lives through the day of two users with Parse's SDK, and prints what their apps see: one line for each step. The addresses and keys
// come from the environment, see docs/parse-server.md.

import { createRequire } from 'node:module';
import { Rollcall } from 'rollcall-client';

const Parse = createRequire(import.meta.url)('parse/node');
const {
  PARSE = 'http://127.0.0.1:1337/parse', LIVEQUERY = 'ws://127.0.0.1:1337', ROLLCALL_URL: url = 'http://127.0.0.1:3000',
  ROLLCALL_APP_ID: app, ROLLCALL_APP_KEY: key, ROLLCALL_MASTER_KEY: masterKey,
} = process.env;
Parse.initialize(app, key, masterKey);
Parse.serverURL = PARSE;

const join = (who) => Parse.User.signUp(`${who}-${Date.now().toString(36)}`, 'a password');
const as = (user) => ({ sessionToken: user.getSessionToken() });
const logOut = (user) => Parse.CoreManager.getRESTController().request('POST', 'logout', {}, as(user));

/** Waits until a user has the wanted status, and prints the last one. */
async function expect(user, want, step) {
  let got;
  for (const end = Date.now() + 60_000; Date.now() < end; await new Promise((next) => setTimeout(next, 50))) {
    [got] = await Parse.Cloud.run('getOnOffStatus', { peerIds: [user.id] });
    if (got === want) break;
  }
  line(got === want, `${step}: ${got}`);
}

function line(ok, text) {
  console.log(`${ok ? 'ok   ' : 'WRONG'} ${text}`);
  if (!ok) process.exitCode = 1;
}

async function live(user) {
  const client = new Parse.LiveQueryClient({ applicationId: app, javascriptKey: key, serverURL: LIVEQUERY, ...as(user) });
  client.open();
  await client.subscribe(new Parse.Query('Message'), user.getSessionToken()).subscribePromise;
  return client;
}

await new Parse.Schema('Message').addString('text').save().catch(() => {}); // it is there already

const tom = await join('tom');
await expect(tom, null, 'tom has signed up, nothing was reported');
const phone = await live(tom);
await expect(tom, '1', 'he opens LiveQuery');
const tablet = await live(tom);
phone.close();
await new Promise((next) => setTimeout(next, 500));
await expect(tom, '1', 'and closes one of two connections');
tablet.close();
await expect(tom, '0', 'and the other');
const stays = await live(tom);
await expect(tom, '1', 'he opens LiveQuery again');
await logOut(tom);
await expect(tom, '0', 'and logs out, the connection stays open');
stays.close();
const again = await Parse.User.logIn(tom.get('username'), 'a password');
await expect(tom, '1', 'he logs in');
await logOut(again);
await expect(tom, '0', 'and out');

const jerry = await join('jerry');
await new Parse.Object('Message').save({ text: 'hello' }, as(jerry));
await expect(jerry, '1', 'jerry writes a message');
const open = await live(jerry);
await Parse.Cloud.run('signOut', { user: jerry.id }, { useMasterKey: true });
await expect(jerry, '0', 'and is signed out everywhere, a connection stays open');
open.close();

const spike = await join('spike');
const socket = new Rollcall({ url, app, key }).present(spike.id, { sign: () => Parse.Cloud.run('signPresence', {}, as(spike)) });
const ended = socket.done.then(() => 'closed', (err) => err.code);
await expect(spike, '1', 'spike has a socket at rollcall, signed for by a cloud function');
await spike.save({ password: 'another password' }, as(spike));
line((await ended) === 'kicked', `his password changes, and the socket is ${await ended}`);
await expect(spike, '0', 'and he is gone');

const forged = new Rollcall({ url, app, key }).present(tom.id).done.then(() => 'closed', (err) => err.code);
line((await forged) === 'unauthorized', `a socket without a signature is refused: ${await forged}`);
const odd = JSON.stringify(await Parse.Cloud.run('getOnOffStatus', { peerIds: ['', null, 7, 'x'.repeat(300), '汤姆'] }));
line(odd === '[null,null,null,null,null]', `ids that are none are answered: ${odd}`);
process.exit();
