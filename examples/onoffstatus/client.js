'use strict';
// A user of the app: node client.js NAME FRIEND... logs in with LeanCloud's realtime SDK, asks for the friends with its storage SDK
// once a second, as the guide does, and prints what changes.

const AV = require('leancloud-storage');
const { Realtime } = require('leancloud-realtime');

const { LEANCLOUD_APP_ID: appId, LEANCLOUD_APP_KEY: appKey, SERVER: server = 'http://127.0.0.1:3000' } = process.env;
const [name, ...friends] = process.argv.slice(2);

AV.init({ appId, appKey, serverURL: server });

async function main() {
  await new Realtime({ appId, appKey, server }).createIMClient(name);
  console.log(`${name} is logged in`);
  const shown = new Map();
  for (;;) {
    const words = await AV.Cloud.run('getOnOffStatus', { peerIds: friends });
    friends.forEach((friend, i) => {
      if (shown.get(friend) !== words[i]) console.log(`${friend} ${words[i]}`);
      shown.set(friend, words[i]);
    });
    await new Promise((next) => setTimeout(next, 1000));
  }
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
