'use strict';
// The cloud functions of an app, on the real leanengine: LeanCloud's guide kept who is online in Redis from here; rollcall has that
// now, and calls the two hooks as LeanCloud's IM service did.

const http = require('http');
const AV = require('leanengine');

const { LEANCLOUD_APP_ID, LEANCLOUD_APP_KEY, LEANCLOUD_APP_MASTER_KEY, LEANCLOUD_APP_HOOK_KEY, LEANCLOUD_APP_PORT = '3030', SERVER = 'http://127.0.0.1:3000' } = process.env;

AV.init({ appId: LEANCLOUD_APP_ID, appKey: LEANCLOUD_APP_KEY, masterKey: LEANCLOUD_APP_MASTER_KEY, hookKey: LEANCLOUD_APP_HOOK_KEY, serverURL: SERVER });

// The guide wrote to Redis in these two. What an app does besides when a user comes and goes stays here.
AV.Cloud.onIMClientOnline(({ params }) => console.log(`${params.peerId} came`));
AV.Cloud.onIMClientOffline(({ params }) => console.log(`${params.peerId} went`));

// The guide answered getOnOffStatus from Redis; rollcall answers it itself. A function that needs to know asks as apps do.
AV.Cloud.define('onlineFriends', async ({ params }) => {
  const words = await AV.Cloud.run('getOnOffStatus', { peerIds: params.friends }, { remote: true });
  return params.friends.filter((_, i) => words[i] === '1');
});

http.createServer(AV.express()).listen(Number(LEANCLOUD_APP_PORT), '127.0.0.1', () => console.log(`functions listen on 127.0.0.1:${LEANCLOUD_APP_PORT}`));
