// Package conformance holds what every client library must do: cases.json, played against a real server through a proxy that
// can cut every connection.
//
// A client takes part with a driver, a program that reads commands as JSON lines and writes what its library does as JSON lines:
//
//	{"do":"query","peers":["tom"]}                 → {"query":"tom=online"} or {"refused":"forbidden"}
//	{"do":"poll","peers":["tom"]}                  → {"poll":"tom=online","complete":true}; the driver keeps the token
//	{"do":"report","events":[…]}                   → {"report":"accepted=1 double=0 late=0 stale=0 ignored=0 full=0"}
//	{"do":"watch","name":"w","peers":["tom"]}      → {"told":"w","peer":"tom=online"} for every word
//	{"do":"present","name":"p","peer":"tom"}       → {"present":"p","on":true}, and on false when that ends
//	{"do":"end","name":"w"}                        → {"ended":"w"}; with "refused" when it ended by itself
//
// Settings come in the environment: ROLLCALL_URL, ROLLCALL_APP, and ROLLCALL_KEY, ROLLCALL_MASTER_KEY or ROLLCALL_HOOK_KEY.
package conformance
