// Package native is what the doors of the native API share: who calls, how often, and how a refusal looks.
//
// A door declares its [Route]s; each says which [Need] its caller must meet. A [Gate] wraps them: it answers CORS, finds out
// who calls by keys, signature or ticket, holds the caller to its rate and hands a [Caller] to the handler. Every refusal
// is an [Error]: {"code","error"} with a code that stays.
package native
