package server

import "rollcall/edge/operator"

// Release is the version of this program and Revision the commit that it was built from:
// deploy/dist.sh sets both. Without them the release is "dev", of the revision that the Go
// toolchain noted.
var (
	Release  = "dev"
	Revision = ""
)

// BuildVersion returns the version of the running program.
func BuildVersion() operator.Version { return operator.BuildVersion(Release, Revision) }
