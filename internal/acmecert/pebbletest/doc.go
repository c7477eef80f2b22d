// Package pebbletest runs the program of rollcall against Pebble, a CA for tests of ACME. It is a
// module of its own so that the program does not depend on a CA.
package pebbletest
