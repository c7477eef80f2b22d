// A cloud function of the recipe, as LeanCloud's guide writes it: who of the ids is online, read from the same Redis.
// usage: node function.js host:port id…
'use strict'
const Redis = require('ioredis')

const [, , address, ...peerIds] = process.argv
const [host, port] = address.split(':')
const redis = new Redis({ host, port: Number(port) })

const getOnOffStatus = (ids) => redis.mget(ids.map((id) => 'onOffStatus:' + id))

getOnOffStatus(peerIds)
  .then((list) => console.log(JSON.stringify(list)))
  .finally(() => redis.disconnect())
