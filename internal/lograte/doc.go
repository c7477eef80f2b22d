// Package lograte keeps a log readable when many callers, or many tries, meet the same trouble: a
// [Line] is written at most once a period, an [Episode] when it begins and when it is over.
package lograte
