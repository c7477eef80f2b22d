'use strict';
// Logs in and stays, as an app does, and tells what happens to it: node stay.js ID... It prints one JSON object a line and takes
// lines "ping ID...", "close" on its input. It is for watching what clients do while a server is stopped, killed or moved.

const { device, sign } = require('./sdk');

const version = Number(process.env.SDK_VERSION || 5);
const say = (what) => console.log(JSON.stringify(what));

async function main(ids) {
  const realtime = await device(version);
  for (const name of ['disconnect', 'schedule', 'retry', 'reconnect', 'error']) {
    realtime.on(name, () => say({ event: name }));
  }
  const clients = [];
  for (const id of ids) {
    const options = process.env.CHECK_SIGNATURES === 'required' && { signatureFactory: async (who) => sign(who) };
    const client = await realtime.createIMClient(id, { tag: process.env.TAG || undefined, ...options }, process.env.TAG); // version 3 takes the tag last
    for (const name of ['conflict', 'close', 'reconnect', 'reconnecterror']) {
      client.on(name, (payload) => say({ client: id, event: name, payload: payload && { code: payload.code, reason: payload.reason } }));
    }
    clients.push(client);
    say({ client: id, event: 'open' });
  }
  const lines = require('readline').createInterface({ input: process.stdin });
  for await (const line of lines) {
    const [command, ...words] = line.split(' ');
    try {
      if (command === 'ping') say({ ping: await clients[0].ping(words) });
      if (command === 'close') {
        await Promise.all(clients.map((c) => c.close()));
        say({ event: 'closed' });
        process.exit(0);
      }
    } catch (err) {
      say({ failed: command, message: err.message });
    }
  }
}

process.on('unhandledRejection', (err) => say({ unhandled: err.message }));
main(process.argv.slice(2)).catch((err) => {
  say({ failed: 'open', code: err.code, message: err.message });
  process.exit(1);
});
