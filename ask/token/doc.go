// Package token seals what a client keeps between two calls: a token, which names what it knows of
// a list of peers, and a cursor, which names where a list goes on.
//
// A watcher and a poller write the same tokens, so a client may go on with one where it stopped
// with the other. What is sealed is AES-256-GCM under a key of the app: a client can neither read
// nor make one, and a token of one app opens for no other.
package token
