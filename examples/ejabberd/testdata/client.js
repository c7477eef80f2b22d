// One device: node client.js ADDRESS USER@HOST/RESOURCE. It prints what becomes of it, and does what
// it reads: "drop" cuts the connection, "stop" logs out.
const { createClient } = require("stanza");
const { createInterface } = require("node:readline");

const [address, jid] = process.argv.slice(2);
const bare = jid.slice(0, jid.indexOf("/"));
const resource = jid.slice(bare.length + 1);
const [user, host] = bare.split("@");
const client = createClient({
  jid: bare,
  resource,
  password: `the-password-of-${user}`,
  transports: { websocket: `ws://${address}/ws` },
  autoReconnect: host === "resume.example",
  maxReconnectBackoff: 1,
});

client.on("session:started", () => {
  client.sendPresence();
  console.log(`online ${client.jid}`);
});
client.on("stream:data", (stanza, kind) => {
  if (kind === "sm" && stanza.type !== "ack" && stanza.type !== "request") console.log(`stream management is ${stanza.type}`);
});
client.on("auth:failed", () => console.log("the password is wrong"));
client.on("disconnected", () => console.log("disconnected"));

createInterface({ input: process.stdin }).on("line", (line) => {
  if (line === "drop") client.transport.socket.terminate();
  if (line === "stop") client.disconnect();
});

client.connect();
