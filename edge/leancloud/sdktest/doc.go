// Package sdktest lets the real JavaScript SDK of LeanCloud, as apps install it, call a built
// rollcall. It holds only tests.
package sdktest
