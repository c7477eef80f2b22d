// A receiver of what changes in an app, for its backend: it verifies each call, keeps a copy of who
// is online, and lists anew when it must. It needs Node.js 20 and nothing else.

import { createHmac, timingSafeEqual } from 'node:crypto'
import { createServer } from 'node:http'

const secret = process.env.CHANGES_SECRET
const rollcall = process.env.ROLLCALL_URL
const headers = { 'X-LC-Id': process.env.ROLLCALL_APP, Authorization: `Bearer ${process.env.ROLLCALL_MASTER_KEY}` }

const peers = new Map() // id → { status, version }

// genuine reports whether a call was signed with our secret, within five minutes.
function genuine(req, body) {
  const time = req.headers['x-rollcall-time'] ?? ''
  if (!(Math.abs(Date.now() / 1000 - Number(time)) <= 300)) return false
  const sum = createHmac('sha256', secret).update(`${time}\n${req.method}\n${req.url}\n`).update(body).digest()
  return (req.headers['x-rollcall-signature'] ?? '').split(',').some((text) => {
    const got = Buffer.from(text.trim().replace(/^v2=/, ''), 'hex')
    return got.length === sum.length && timingSafeEqual(got, sum)
  })
}

// list reads who is online, all pages of it; everyone else is offline.
async function list() {
  const online = new Set()
  let cursor = ''
  do {
    const res = await fetch(`${rollcall}/v1/peers?online&cursor=${encodeURIComponent(cursor)}`, { headers })
    if (!res.ok) throw new Error(`list: ${res.status}`)
    const page = await res.json()
    page.peers.forEach((peer) => online.add(peer))
    cursor = page.cursor
  } while (cursor)
  for (const [id, peer] of peers) if (!online.has(id)) peer.status = 'offline'
  for (const id of online) peers.set(id, { version: 0, ...peers.get(id), status: 'online' })
}

// take puts one batch into the copy. A change that came before, or is older, changes nothing.
async function take(batch) {
  if (batch.list_again) await list()
  for (const change of batch.changes) {
    if (change.version <= (peers.get(change.peer)?.version ?? 0)) continue
    peers.set(change.peer, { status: change.status, version: change.version })
  }
}

const server = createServer(async (req, res) => {
  try {
    const chunks = []
    for await (const chunk of req) chunks.push(chunk)
    const body = Buffer.concat(chunks)
    if (req.method === 'GET' && req.url === '/online') {
      const online = [...peers].filter(([, peer]) => peer.status === 'online').map(([id]) => id)
      res.end(online.sort().join(' '))
    } else if (!genuine(req, body)) {
      res.writeHead(401).end()
    } else {
      await take(JSON.parse(body)) // 2xx only when it is done
      res.writeHead(204).end()
    }
  } catch (err) {
    console.error(err.message)
    res.writeHead(500).end() // it will come again
  }
})
const [host, port] = (process.env.CHANGES_LISTEN ?? '127.0.0.1:3200').split(':')
server.listen(port, host, () => console.log(`listens on ${host}:${server.address().port}`))
