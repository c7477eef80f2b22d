// Calls the function the way an app does: SERVER, ID and KEY from the environment; prints one JSON line a call.
const AV = require('leancloud-storage')

const { SERVER, ID, KEY, MASTER_KEY } = process.env
AV.init({ appId: ID, appKey: KEY, masterKey: MASTER_KEY, serverURL: SERVER })

const outcome = (name, promise) =>
  promise.then(
    (value) => console.log(JSON.stringify({ name, value })),
    (error) => console.log(JSON.stringify({ name, code: error.code, message: error.message })),
  )

async function main() {
  const peerIds = ['Tom', 'Jerry', 'Nobody', '汤姆']
  await outcome('run', AV.Cloud.run('getOnOffStatus', { peerIds }))
  await outcome('rpc', AV.Cloud.rpc('getOnOffStatus', { peerIds }))
  await outcome('run with the master key', AV.Cloud.run('getOnOffStatus', { peerIds }, { useMasterKey: true }))
  await outcome('run for staging', (AV.setProduction(false), AV.Cloud.run('getOnOffStatus', { peerIds: ['Tom'] })))
  await outcome('run without parameters', AV.Cloud.run('getOnOffStatus'))
  await outcome('run of what does not exist', AV.Cloud.run('nope', {}))
  await outcome('hook without its key', AV.Cloud.run('_clientOnline', { peerId: 'Eve' }))
}

main()
