// Package usertoken verifies user tokens: JSON Web Tokens by which the backend of an app says who a
// caller is.
//
// # Rules
//
// sub is the peer. exp is required and lies at most a set time ahead. nbf and iat count when they
// are there; aud, when it is there, names the app. Clocks may differ by [Skew]. The claim rollcall
// and the header crit are refused: a token must not grant more than its issuer thinks.
//
// What proves a token is fixed by the settings of the app, never by the token: HS256 by a secret,
// RS256, ES256 and EdDSA by public keys or by the keys at one URL. Keys of a URL are kept by URL,
// algorithm and kid, so that no issuer proves the tokens of another.
//
// Tokens that were right are remembered by their SHA-256 for up to five minutes.
package usertoken
