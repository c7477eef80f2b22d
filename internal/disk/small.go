package disk

import (
	"fmt"
	"io"
	"io/fs"
	"os"
)

// maxSmall bounds what [ReadSmall] reads.
const maxSmall = 1 << 20

// ReadSmall reads a file of certificates or keys whose name is a setting, and so may be that of a
// pipe or a device, which would be read for ever: those are refused, and more than 1 MiB, too.
func ReadSmall(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		if e, ok := err.(*fs.PathError); ok {
			e.Op = "open"
		}
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSmall {
		return nil, fmt.Errorf("%.80s is not a file of certificates or keys", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSmall))
}
