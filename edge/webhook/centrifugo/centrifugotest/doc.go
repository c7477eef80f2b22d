// Package centrifugotest runs a Centrifugo that has the program of rollcall for its refresh proxy,
// with a client that connects to it. It is a module of its own so that the program does not depend
// on Centrifugo.
package centrifugotest
