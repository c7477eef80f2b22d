/* global Parse */
import { Presence } from './presence.js';

const { ROLLCALL_APP_ID: app, ROLLCALL_MASTER_KEY: masterKey, ROLLCALL_HOOK_KEY: hookKey, ROLLCALL_URL: url = 'http://127.0.0.1:3000' } = process.env;
const presence = new Presence(Parse, { url, app, masterKey, hookKey });

// Questions.
Parse.Cloud.define('getOnOffStatus', ({ params }) => presence.statuses(params.peerIds), { fields: { peerIds: { type: Array, required: true } } });
// Check here which users the caller may watch.
Parse.Cloud.define('presenceTicket', ({ params }) => presence.ticket(params.peers), { requireUser: true, fields: { peers: { type: Array, required: true } } });

// Reports: LiveQuery's connections, the app's own socket, what users do.
Parse.Cloud.onLiveQueryEvent((event) => presence.liveQuery(event));
Parse.Cloud.define('signPresence', ({ user }) => presence.sign(user), { requireUser: true });
Parse.Cloud.afterLogin(({ object: user }) => presence.active(user));
Parse.Cloud.beforeSave('Message', ({ user }) => user && presence.active(user));

// Sessions that end.
Parse.Cloud.afterLogout(({ object: session }) => presence.loggedOut(session));
Parse.Cloud.beforeSave(Parse.User, ({ object, context }) => {
  context.newPassword = object.existed() && object.dirty('password'); // Parse deletes the sessions with the old one
});
Parse.Cloud.afterSave(Parse.User, ({ object, context }) => {
  if (context.newPassword) presence.revoked(object).catch((err) => console.error(`kick failed: ${err.message}`)); // the save does not wait
});
Parse.Cloud.define('signOut', async ({ params }) => {
  const user = Parse.User.createWithoutData(params.user);
  await Parse.Object.destroyAll(await new Parse.Query(Parse.Session).equalTo('user', user).findAll({ useMasterKey: true }), { useMasterKey: true });
  await presence.revoked(user);
}, { requireMaster: true, fields: { user: { type: String, required: true } } });

process.once('SIGTERM', () => presence.drain().finally(() => process.exit()));
