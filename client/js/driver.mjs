// Lets the JavaScript client take part in the conformance cases, see client/conformance.

import { createInterface } from 'node:readline';
import { Rollcall, RollcallError } from './rollcall.js';

const { ROLLCALL_URL, ROLLCALL_APP, ROLLCALL_KEY, ROLLCALL_MASTER_KEY, ROLLCALL_HOOK_KEY } = process.env;
const rollcall = new Rollcall({
  url: ROLLCALL_URL,
  app: ROLLCALL_APP,
  key: ROLLCALL_KEY,
  masterKey: ROLLCALL_MASTER_KEY,
  hookKey: ROLLCALL_HOOK_KEY,
});
const running = new Map();
let token = '';

const say = (v) => process.stdout.write(`${JSON.stringify(v)}\n`);
const words = (peers) => peers.map((p) => `${p.peer}=${p.status}`).join(' ');
const failure = (err) => (err instanceof RollcallError ? { refused: err.code } : { failed: String(err) });

function begin(name, handle) {
  running.set(name, handle);
  handle.done.then(
    () => say({ ended: name }),
    (err) => say({ ended: name, ...failure(err) }),
  );
}

const commands = {
  async query({ peers }) {
    say({ query: words(await rollcall.query(peers)) });
  },
  async poll({ peers }) {
    const answer = await rollcall.query(peers, { since: token });
    token = answer.token;
    say({ poll: words(answer.peers), complete: answer.complete });
  },
  async report({ events }) {
    const t = await rollcall.report(events);
    const names = ['accepted', 'double', 'late', 'stale', 'ignored', 'full'];
    say({ report: names.map((n) => `${n}=${t[n]}`).join(' ') });
  },
  watch({ name, peers }) {
    begin(name, rollcall.watch(peers, (peer) => say({ told: name, peer: words([peer]) })));
  },
  present({ name, peer, device }) {
    begin(name, rollcall.present(peer, { device, onChange: (on) => say({ present: name, on }) }));
  },
  end({ name }) {
    running.get(name).close();
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  try {
    await commands[command.do](command);
  } catch (err) {
    say(failure(err));
  }
}
process.exit(0);
