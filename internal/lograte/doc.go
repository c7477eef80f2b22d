// Package lograte keeps a log readable when many callers meet the same trouble.
package lograte
