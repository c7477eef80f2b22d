// Package redistest starts real Redis servers for tests: one alone, a primary with replica and
// Sentinels, and a cluster of six, all on loopback, on free ports and in directories of their own.
// Its [Proxy] stands between a client and a server and can freeze, cut, delay and slice what
// passes.
//
// A [CA] makes certificates, and what its TLS starts speaks nothing else. ROLLCALL_TEST_REDIS in
// the environment names another binary than redis-server to start: a valkey-server.
//
// Every process it starts dies with the test process, whatever becomes of that: the kernel is asked
// to kill it. Nothing here is a fake; what a test sees is what redis-server does.
package redistest
