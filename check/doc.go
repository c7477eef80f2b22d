// Package check looks at a running rollcall from outside, as apps and IM servers reach it: through
// DNS, TLS and the proxies in front.
//
// [Run] goes through the checks in order. Each ends as ok, failed or skipped, with a text; one that
// failed names the heading of docs/check.md that has its cure. Every connection, answer and wait is
// bounded, so a server that answers without end, slowly or with a redirect fails its check and
// keeps none of the others waiting.
//
// The checks report about one peer of their own, called rollcall-check- and a random text, and end
// what they reported; with the master key they erase it. No other peer is touched.
//
// # Keys
//
// No key is sent where its connection could be read: not before the certificate was verified, and
// the master key and the hook key not over plain http, but for loopback. No redirect is followed.
// No text holds a key.
package check
