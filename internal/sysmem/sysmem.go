// Package sysmem reports how much memory this process may use, so that bounds can be a share of it.
package sysmem

import (
	"bufio"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
)

// Limit returns how many bytes this process may use: the least of the machine's memory and the
// limits of its control groups (version 1 and 2). It is read once. Zero: the system does not say.
func Limit() int64 { return limit() }

var limit = sync.OnceValue(func() int64 { return read("/") })

// read is Limit of a system whose root directory is root.
func read(root string) int64 {
	least := int64(0)
	take := func(n int64) {
		if n > 0 && (least == 0 || n < least) {
			least = n
		}
	}
	take(total(path.Join(root, "proc/meminfo")))
	groups, err := os.ReadFile(path.Join(root, "proc/self/cgroup"))
	if err != nil {
		return least
	}
	for line := range strings.Lines(string(groups)) {
		// hierarchy:controllers:path, with 0 and no controllers in version 2
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) < 3 {
			continue
		}
		mount, file := "sys/fs/cgroup", "memory.max"
		switch {
		case f[1] == "":
		case strings.Contains(","+f[1]+",", ",memory,"):
			mount, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		// Every group above bounds this one, too. In a container the path may be that of the host:
		// then only the top is there.
		for dir := path.Clean("/" + f[2]); ; dir = path.Dir(dir) {
			take(number(path.Join(root, mount, dir, file)))
			if dir == "/" {
				break
			}
		}
	}
	return least
}

// total returns MemTotal of a meminfo file.
func total(name string) int64 {
	f, err := os.Open(name)
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), "MemTotal:")
		if !ok {
			continue
		}
		kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil {
			return 0
		}
		return kb << 10
	}
	return 0
}

// number returns the number in a file; zero when there is none, or no limit.
func number(name string) int64 {
	b, err := os.ReadFile(name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || n <= 0 || n >= 1<<60 { // "max"; or version 1's way to say none
		return 0
	}
	return n
}
