// Lets the JavaScript client take part in the conformance cases, see client/conformance.

import { createHmac } from 'node:crypto';
import { createInterface } from 'node:readline';
import { Rollcall, RollcallError } from './rollcall.js';

const { ROLLCALL_URL, ROLLCALL_APP, ROLLCALL_KEY, ROLLCALL_MASTER_KEY, ROLLCALL_HOOK_KEY, ROLLCALL_TICKETS, ROLLCALL_SIGN, ROLLCALL_TRANSPORT, ROLLCALL_TOKENS, ROLLCALL_TOKEN_LIFE } = process.env;
const options = {
  url: ROLLCALL_URL,
  app: ROLLCALL_APP,
  key: ROLLCALL_KEY,
  masterKey: ROLLCALL_MASTER_KEY,
  hookKey: ROLLCALL_HOOK_KEY,
  transport: ROLLCALL_TRANSPORT,
};
const buyer = new Rollcall(options);
let tickets = 0;
const getTicket = async ({ peers }) => (tickets++ === 0 ? 'a ticket that is none' : (await buyer.ticket({ peers })).ticket);
let tokens = 0;
const getToken = async () => {
  const now = Math.floor(Date.now() / 1000) - (tokens === 0 ? 86_400 : 0); // the first token is a day old
  const part = (v) => Buffer.from(JSON.stringify(v)).toString('base64url');
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: 'tom', iat: now, exp: now + Number(ROLLCALL_TOKEN_LIFE) })}`;
  say({ token: ++tokens });
  return `${text}.${createHmac('sha256', ROLLCALL_TOKENS).update(text).digest('base64url')}`;
};
const rollcall = ROLLCALL_TICKETS ? new Rollcall({ ...options, key: undefined, getTicket }) : ROLLCALL_TOKENS ? new Rollcall({ ...options, key: undefined, getToken }) : buyer;
let signed = 0;
const sign = ROLLCALL_SIGN && (async (peer) => {
  const time = Date.now() - (signed++ === 0 ? 86_400_000 : 0); // the first signature is a day old
  return { time, nonce: 'nonce', sign: createHmac('sha1', ROLLCALL_SIGN).update(`${ROLLCALL_APP}:${peer}::${time}:nonce`).digest('hex') };
});
const running = new Map();
let token = '';
let cursor;
const cursors = new Map(); // of replicas, by name
let reported;

const say = (v) => process.stdout.write(`${JSON.stringify(v)}\n`);
const words = (peers) => peers.map((p) => `${p.peer}=${p.status}`).join(' ');
const tally = (t) => ['accepted', 'double', 'late', 'stale', 'ignored', 'full'].map((n) => `${n}=${t[n]}`).join(' ');
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
    const answer = await rollcall.query(peers);
    say({ query: words(answer), age: answer[0]?.age });
  },
  async poll({ peers }) {
    const answer = await rollcall.query(peers, { since: token });
    token = answer.token;
    say({ poll: words(answer.peers), complete: answer.complete, age: answer.age });
  },
  async get({ peer }) {
    const p = await rollcall.get(peer);
    say({ get: words([p]), age: p.age });
  },
  async why({ peer }) {
    say({ why: words([await rollcall.why(peer)]) });
  },
  async list() {
    const page = await rollcall.list();
    say({ list: page.peers.sort().join(' '), age: page.age });
  },
  async changes() {
    const page = await rollcall.changes({ cursor, wait: 5 });
    cursor = page.cursor;
    say({ changes: words(page.changes), list_again: page.list_again, age: page.age });
  },
  replicate({ name }) {
    begin(name, rollcall.replicate({
      cursor: cursors.get(name),
      onList: (online) => say({ listed: name, online: online.sort().join(' ') }),
      onChange: (peer) => say({ replica: name, peer: words([peer]), age: peer.age }),
      onCursor: (c) => cursors.set(name, c),
      onAge: (age) => say({ aged: name, age }),
    }));
  },
  async erase({ peer }) {
    await rollcall.erase(peer);
    say({ erase: peer });
  },
  async kick({ peer }) {
    await rollcall.kick(peer, { reason: 'enough' });
    say({ kick: peer });
  },
  async report({ events }) {
    reported = events;
    say({ report: tally(await rollcall.report(events)) });
  },
  async again() {
    say({ report: tally(await rollcall.report(reported)) });
  },
  async beat({ node, lease }) {
    say({ beat: await rollcall.beat(node, { lease }) });
  },
  async drain({ node }) {
    say({ drain: await rollcall.drain(node) });
  },
  async resync({ node, sessions }) {
    const t = await rollcall.resync(node, sessions);
    say({ resync: `accepted=${t.accepted} ended=${t.ended}` });
  },
  watch({ name, peers }) {
    begin(name, rollcall.watch(peers, (peer) => say({ update: name, peer: words([peer]), age: peer.age }), { onAge: (age) => say({ aged: name, age }) }));
  },
  async push({ peers }) {
    say({ push: (await rollcall.shouldPush(peers)).map((p) => `${p.peer}=${p.push}/${p.why}`).join(' ') });
  },
  activity({ name, activity }) {
    running.get(name).setActivity(activity);
  },
  present({ name, peer, device, tag, activity }) {
    begin(name, rollcall.present(peer, { device, tag, activity, sign, onChange: (on) => say({ present: name, on }) }));
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
