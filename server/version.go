package server

import "rollcall/edge/operator"

// Release is the version of this program; a release build may set it with -ldflags "-X rollcall/server.Release=v1.2.3".
var Release = "dev"

// BuildVersion returns the version of the running program.
func BuildVersion() operator.Version { return operator.BuildVersion(Release) }
