// Package credentials knows the apps of this server, their keys, and what a caller who presents one of them may do.
//
// A [Keyring] holds the apps. A door collects what a request presents ([FromHeader], [Native], or by hand) and asks
// [Keyring.Check] for the app and the [Rights]:
//
//	app, rights := ring.Check(credentials.FromHeader(r.Header))
//	if !rights.Has(credentials.Client) { … 401 … }
//
// # Rules
//
// Secrets are compared by the SHA-256 of both sides in constant time. A secret that is not configured refuses whatever is
// presented. An app id that nobody knows takes the same path through a decoy whose keys are random, so neither answer nor
// time tells whether an app exists. The master key has the rights of a client; it does not replace the hook key, and the
// hook key alone is no credential.
//
// Where a header comes in several families, the first one that is present wins, also when it is wrong; an empty one counts
// as absent.
package credentials
