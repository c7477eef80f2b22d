// Package httpx holds what every door that speaks HTTP needs and none should invent again: who the client is behind trusted
// proxies, and bodies read within a limit and a deadline.
package httpx
