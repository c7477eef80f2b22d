// Package conformance holds what every client library must do: cases.json, played against a real
// server through a proxy that can cut every connection.
//
// A client takes part with a driver, a program that reads commands as JSON lines and writes what
// its library does as JSON lines:
//
//	{"do":"query","peers":["tom"]}            → {"query":"tom=online"} or {"refused":"forbidden"}
//	{"do":"poll","peers":["tom"]}             → {"poll":"tom=online","complete":true}
//	{"do":"get","peer":"tom"}                 → {"get":"tom=online"}; also why
//	{"do":"list"}                             → {"list":"ann tom"}, in order
//	{"do":"erase","peer":"tom"}               → {"erase":"tom"}; also kick
//	{"do":"report","events":[…]}              → {"report":"accepted=1 double=0 late=0 …"}
//	{"do":"again"}                            → the same, for the same events sent again
//	{"do":"beat","node":"n","lease":60}       → {"beat":60}
//	{"do":"drain","node":"n"}                 → {"drain":30}
//	{"do":"resync","node":"n","sessions":[…]} → {"resync":"accepted=1 ended=0"}
//	{"do":"watch","name":"w","peers":["tom"]} → {"update":"w","peer":"tom=online"} for each update
//	{"do":"present","name":"p","peer":"tom"}  → {"present":"p","on":true}; false when that ends
//	{"do":"changes"}                          → {"changes":"tom=online","list_again":false}
//	{"do":"replicate","name":"r"}             → {"listed":"r","online":"ann tom"} for each list,
//	                                            and {"replica":"r","peer":"tom=online"}
//	{"do":"activity","name":"p","activity":"idle"} says what the user of a present does
//	{"do":"push","peers":["tom"]}             → {"push":"tom=true/offline"}
//	{"do":"end","name":"w"}                   → {"ended":"w"}, with "refused" if by itself
//
// The driver keeps the token of a poll, the cursor of changes, and that of each replica, which goes
// on from it when it is begun again. A present may have a device and a tag.
//
// An answer or an update that is old, because the server cannot read its store, has its "age" in
// seconds; a watch also says {"aged":"w","age":3.2} with every age of its stream, and 0 at the end.
//
// Settings come in the environment: ROLLCALL_URL, ROLLCALL_APP, and ROLLCALL_KEY,
// ROLLCALL_MASTER_KEY or ROLLCALL_HOOK_KEY. With ROLLCALL_TICKETS the client under test has no key
// and lives on tickets that the driver buys, the first of which is none. With ROLLCALL_TOKENS, the
// secret of user tokens, it lives on tokens of tom that the driver makes, each good for
// ROLLCALL_TOKEN_LIFE seconds, the first a day ago; {"token":3} says that the third is made. With
// ROLLCALL_SIGN, a master key, the driver signs for those that are present, the first time with a
// signature that is a day old.
package conformance
