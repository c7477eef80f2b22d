package operator

import (
	"runtime"
	"runtime/debug"
	"strings"
)

// Version says what was built, from what and with what.
type Version struct {
	Release  string `json:"release"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// BuildVersion returns the version of the running program, which calls itself release. Its
// revision, with "-modified" at the end when the tree had changes, is the one that the toolchain
// noted when none is given.
func BuildVersion(release, revision string) Version {
	v := Version{Release: release, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if revision != "" {
		revision, v.Modified = strings.CutSuffix(revision, "-modified")
		v.Revision = revision[:min(12, len(revision))]
	} else if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Revision = s.Value[:min(12, len(s.Value))]
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	return v
}

func (v Version) String() string {
	text := "rollcall " + v.Release
	if v.Revision != "" {
		text += " (" + v.Revision
		if v.Modified {
			text += ", modified"
		}
		text += ")"
	}
	return text + " " + v.Go + " " + v.Platform
}
