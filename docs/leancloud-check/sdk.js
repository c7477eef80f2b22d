'use strict';
// What the checks share: fresh copies of the SDKs, so that one process can be several devices, and where to find the server.

const url = (process.env.ROLLCALL_URL || 'http://127.0.0.1:3000').replace(/\/$/, '');
const appId = need('LEANCLOUD_APP_ID');
const appKey = need('LEANCLOUD_APP_KEY');
const masterKey = need('LEANCLOUD_APP_MASTER_KEY');

const packages = { 5: 'leancloud-realtime', 4: 'leancloud-realtime-4', 3: 'leancloud-realtime-3' };

function need(name) {
  const value = process.env[name];
  if (!value) {
    console.error(`${name} is not set; it is one of the app's keys`);
    process.exit(2);
  }
  return value;
}

// fresh loads a package anew: its registry of apps allows one Realtime of an app id in each copy.
function fresh(name) {
  for (const file of Object.keys(require.cache)) {
    if (file.includes(`/node_modules/${name}/`)) delete require.cache[file];
  }
  return require(name);
}

// device returns a Realtime as one device has it.
async function device(version, options = {}) {
  const { Realtime } = fresh(packages[version]);
  const where = {};
  if (version === 5) {
    where.server = url;
  } else if (url.startsWith('https://')) {
    where.server = url.slice('https://'.length); // this version takes a host and adds https:// itself
  } else {
    const route = await (await fetch(`${url}/v1/route?appId=${appId}&secure=false`)).json();
    where.RTMServers = [route.server];
  }
  const realtime = new Realtime({ appId, appKey, ...where, ...options });
  if (version === 3) realtime._getEndpoints = async () => where.RTMServers; // this version finds servers by LeanCloud's DNS alone
  return realtime;
}

// sign is a login signature as an app's own signing function makes it.
function sign(clientId, timestamp = Date.now(), nonce = Math.random().toString(36).slice(2)) {
  const text = `${appId}:${clientId}::${timestamp}:${nonce}`;
  const signature = require('crypto').createHmac('sha1', masterKey).update(text).digest('hex');
  return { signature, timestamp, nonce };
}

// rest calls the REST interface with the master key.
async function rest(path, body) {
  const res = await fetch(url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-lc-id': appId, 'x-lc-key': `${masterKey},master` },
    body: JSON.stringify(body),
  });
  if (!res.ok) throw new Error(`${path}: ${res.status} ${await res.text()}`);
  return res.json();
}

// storage is the SDK that calls cloud functions.
function storage() {
  const AV = require('leancloud-storage');
  if (!AV.applicationId) AV.init({ appId, appKey, serverURL: url });
  return AV;
}

module.exports = { url, appId, appKey, masterKey, device, sign, rest, storage, fresh, packages };
