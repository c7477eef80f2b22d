// Command image makes the container image of rollcall from its programs: an OCI image layout in a
// tar file, which docker load, podman load, skopeo and crane read. Nothing is downloaded and no
// daemon is needed; the same programs give the same bytes.
//
//	go run ./image -version 0.2.0 -time 1764000000 -out rollcall-image.tar \
//	   linux/amd64=rollcall-amd64 linux/arm64=rollcall-arm64
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

func main() {
	var r release
	var stamp int64
	out := flag.String("out", "rollcall-image.tar", "the `file` to write")
	flag.StringVar(&r.Version, "version", "dev", "the `version` in the image's labels and name")
	flag.StringVar(&r.Revision, "revision", "", "the `commit` in its labels")
	flag.Int64Var(&stamp, "time", 0, "the time of its files, in `seconds` since 1970")
	flag.Parse()
	r.Time = time.Unix(stamp, 0).UTC()
	for _, arg := range flag.Args() {
		platform, program, ok := strings.Cut(arg, "=")
		if !ok {
			fail(fmt.Errorf("%q: want OS/ARCH=PROGRAM", arg))
		}
		r.Programs = append(r.Programs, program)
		r.Platforms = append(r.Platforms, platform)
	}
	if len(r.Programs) == 0 {
		fail(fmt.Errorf("no program is given: want OS/ARCH=PROGRAM"))
	}
	if err := r.write(*out); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "image:", err)
	os.Exit(1)
}
