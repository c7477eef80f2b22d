// Package logs carries log lines to where they are read: [NewSink] keeps a stuck writer from
// holding up the process, [NewHTTP] gives the lines of net/http the level they deserve.
package logs
