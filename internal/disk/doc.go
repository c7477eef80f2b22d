// Package disk is the file system under what rollcall keeps: an interface, so that tests can make
// every call fail or cut the power, the real one ([OS]), and the replacement of a file that a crash
// leaves whole.
package disk
