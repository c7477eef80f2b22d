// Calls the function the way an app of Parse does: SERVER (with the path that Parse calls its mount), ID, KEY and MASTER_KEY from the
// environment; prints one JSON line a call.
const Parse = require('parse/node')

const { SERVER, ID, KEY, MASTER_KEY } = process.env
Parse.initialize(ID, KEY, MASTER_KEY)
Parse.serverURL = SERVER

const outcome = (name, promise) =>
  promise.then(
    (value) => console.log(JSON.stringify({ name, value })),
    (error) => console.log(JSON.stringify({ name, code: error.code, message: error.message })),
  )

async function main() {
  const peerIds = ['Tom', 'Jerry', 'Nobody', '汤姆']
  await outcome('run', Parse.Cloud.run('getOnOffStatus', { peerIds }))
  await outcome('run with the master key', Parse.Cloud.run('getOnOffStatus', { peerIds }, { useMasterKey: true }))
  await outcome('run with a hole in the list', Parse.Cloud.run('getOnOffStatus', { peerIds: ['Tom', null] }))
  await outcome('run of what does not exist', Parse.Cloud.run('nope', {}))
  await outcome('hook without its key', Parse.Cloud.run('_clientOnline', { peerId: 'Eve' }))
  Parse.initialize(ID, 'wrong', MASTER_KEY)
  await outcome('run with a wrong key', Parse.Cloud.run('getOnOffStatus', { peerIds }))
}

main()
