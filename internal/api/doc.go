// Package api is what the doors share: the apps and their keys, who calls and how often, how a
// request is read, and how a refusal looks.
//
// A door of /v1 declares its [Route]s; each says which [Need] its caller must meet. A [Gate] wraps
// them: it answers CORS, identifies the caller by keys, signature or ticket, holds it to its rate
// and hands a [Caller] to the handler. Every refusal is an [Error]: {"code","error"} with a code
// that stays.
//
// # Keys
//
// A [Keyring] holds the apps. A door collects what a request presents ([FromHeader], [FromRequest],
// or by hand) and asks [Keyring.Check] for the app and the [Rights]:
//
//	app, rights := ring.Check(api.FromHeader(r.Header))
//	if !rights.Has(api.Client) { … 401 … }
//
// Secrets are compared by the SHA-256 of both sides in constant time. A secret that is not
// configured refuses whatever is presented. An unknown app id takes the same path through a decoy
// whose keys are random, so neither answer nor time discloses whether an app exists. The master key
// has the rights of a client; it does not replace the hook key, and the hook key alone is no
// credential.
//
// Where a header comes in several families, the first one that is present wins, also when it is
// wrong; an empty one counts as absent.
package api
