'use strict';
// Checks a running rollcall with LeanCloud's own SDKs: npm run check. It logs in under ids of its own and leaves nothing behind.
//
//   ROLLCALL_URL              where it runs; http://127.0.0.1:3000
//   LEANCLOUD_APP_ID, LEANCLOUD_APP_KEY, LEANCLOUD_APP_MASTER_KEY
//   CHECK_SIGNATURES=required when rollcall runs with rtm.signatures
//
// Exit code 0: everything is as the SDKs want it; 1: the line that begins with "not ok" is not.

const assert = require('assert');
const { appId, device, sign, rest, storage } = require('./sdk');

const run = Math.random().toString(36).slice(2, 8);
const required = process.env.CHECK_SIGNATURES === 'required';
const signed = { signatureFactory: async (id) => sign(id) };

// login opens a client, signed when the server asks for that.
function login(realtime, id, options = {}) {
  return realtime.createIMClient(id, required ? { ...signed, ...options } : options);
}

// event waits for the next event of a client.
function event(emitter, name, ms = 10000) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no event ${name} within ${ms} ms`)), ms);
    emitter.once(name, (payload) => {
      clearTimeout(timer);
      resolve(payload);
    });
  });
}

async function refused(promise, code) {
  const began = Date.now();
  await assert.rejects(promise, (err) => {
    assert.strictEqual(err.code, code, `refused with ${err.code} ${err.message}`);
    return true;
  });
  assert.ok(Date.now() - began < 5000, 'the refusal came too late');
}

const checks = {
  async 'log in, see who is online, log out'(v, name) {
    const realtime = await device(v);
    const tom = await login(realtime, name('tom'));
    assert.deepStrictEqual(await tom.ping([name('tom'), name('nobody')]), [name('tom')]);
    await tom.close();
  },

  async 'two clients on one connection'(v, name) {
    const realtime = await device(v);
    const tom = await login(realtime, name('tom'));
    assert.deepStrictEqual(await tom.ping([name('jerry')]), []);
    const jerry = await login(realtime, name('jerry'));
    assert.deepStrictEqual(await tom.ping([name('jerry')]), [name('jerry')]);
    await tom.close();
    assert.deepStrictEqual(await jerry.ping([name('tom'), name('jerry')]), [name('jerry')]);
    await jerry.close();
  },

  async 'the cloud function and check-online see the same'(v, name) {
    const realtime = await device(v);
    const tom = await login(realtime, name('tom'));
    const ids = [name('tom'), name('nobody')];
    const status = await storage().Cloud.run('getOnOffStatus', { peerIds: ids });
    assert.strictEqual(status[0], '1');
    assert.notStrictEqual(status[1], '1');
    assert.deepStrictEqual((await rest('/1.2/rtm/clients/check-online', { client_ids: ids })).results, [ids[0]]);
    await tom.close();
    assert.strictEqual((await storage().Cloud.run('getOnOffStatus', { peerIds: ids }))[0], '0');
    assert.deepStrictEqual((await rest('/1.2/rtm/clients/check-online', { client_ids: ids })).results, []);
  },

  async 'a login by hand pushes out another device with its tag'(v, name) {
    const [first, second] = [await device(v), await device(v)];
    const tom = await login(first, name('tom'), { tag: 'Mobile' });
    const conflict = event(tom, 'conflict');
    const other = await login(second, name('tom'), { tag: 'Mobile' });
    assert.strictEqual((await conflict).reason, 'SESSION_CONFLICT');
    assert.deepStrictEqual(await other.ping([name('tom')]), [name('tom')]);
    await other.close();
  },

  async 'devices without a tag stay beside each other'(v, name) {
    const [first, second] = [await device(v), await device(v)];
    const one = await login(first, name('tom'));
    const two = await login(second, name('tom'));
    await one.close();
    assert.deepStrictEqual(await two.ping([name('tom')]), [name('tom')]);
    await two.close();
  },

  async 'a kick through REST'(v, name) {
    const realtime = await device(v);
    const tom = await login(realtime, name('tom'));
    const closed = event(tom, 'close');
    await rest(`/1.2/rtm/clients/${name('tom')}/kick`, { reason: 'because' });
    const { code, reason } = await closed;
    assert.deepStrictEqual([code, reason], [4115, 'because']);
    assert.deepStrictEqual((await rest('/1.2/rtm/clients/check-online', { client_ids: [name('tom')] })).results, []);
  },

  async 'a login signature'(v, name) {
    const realtime = await device(v);
    let asked = 0;
    const signer = async (id) => ((asked += 1), sign(id));
    const tom = await realtime.createIMClient(name('tom'), { signatureFactory: signer });
    assert.strictEqual(asked, 1, 'the SDK asked its signer');
    assert.deepStrictEqual(await tom.ping([name('tom')]), [name('tom')]);
    await tom.close();
    if (!required) return;
    await refused((await device(v)).createIMClient(name('eve')), 4102);
    await refused((await device(v)).createIMClient(name('eve'), { signatureFactory: async () => sign(name('tom')) }), 4102);
  },

  async 'a login that is refused'(v, name) {
    const realtime = await device(v);
    await refused(login(realtime, 'x'.repeat(65)), 4103);
  },

  async 'conversations are refused at once and the session goes on'(v, name) {
    const realtime = await device(v);
    const tom = await login(realtime, name('tom'));
    await refused(tom.createConversation({ members: [name('jerry')], name: 'x' }), 4301);
    assert.deepStrictEqual(await tom.ping([name('tom')]), [name('tom')]);
    await tom.close();
  },

  async 'text frames instead of bytes'(v, name) {
    const realtime = await device(v, { noBinary: true });
    const tom = await login(realtime, name('tom'));
    assert.deepStrictEqual(await tom.ping([name('tom')]), [name('tom')]);
    await tom.close();
  },
};

async function main() {
  let n = 0;
  for (const v of [5, 4]) {
    for (const [what, check] of Object.entries(checks)) {
      n += 1;
      try {
        await check(v, (id) => `check-${run}-${v}-${n}-${id}`);
        console.log(`ok ${n} - leancloud-realtime ${v}: ${what}`);
      } catch (err) {
        console.log(`not ok ${n} - leancloud-realtime ${v}: ${what}\n  ${err.stack || err}`);
        process.exit(1);
      }
    }
  }
  console.log(`all ${n} checks passed for app ${appId}`);
  process.exit(0);
}

main();
