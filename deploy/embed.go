// Package deploy holds the files by which systemd runs rollcall, for the program to write them: the
// Debian package and `rollcall install` have the same ones.
package deploy

import _ "embed" // the files are part of the program

// Service is the text of rollcall.service, Socket that of rollcall.socket, TLSSocket that of
// rollcall-tls.socket, and Settings the first rollcall.yaml.
var (
	//go:embed systemd/rollcall.service
	Service string
	//go:embed systemd/rollcall.socket
	Socket string
	//go:embed systemd/rollcall-tls.socket
	TLSSocket string
	//go:embed deb/rollcall.yaml
	Settings string
)
