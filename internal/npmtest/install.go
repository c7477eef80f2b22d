// Package npmtest installs the pinned npm packages that tests run: other people's SDKs and what
// drives a browser.
package npmtest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"rollcall/internal/disk"
)

// Install brings the node_modules of dir to what its package-lock.json pins, unless they are there.
// Tests of several packages may call it for one folder at a time.
func Install(tb testing.TB, dir string) {
	tb.Helper()
	abs, err := filepath.Abs(dir)
	if err != nil {
		tb.Fatal(err)
	}
	name := filepath.Join(os.TempDir(), fmt.Sprintf("npmtest-%x.lock", sha256.Sum256([]byte(abs))))
	lock, err := disk.OS{}.Lock(name)
	for ; errors.Is(err, disk.ErrInUse); lock, err = (disk.OS{}).Lock(name) {
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		tb.Fatalf("lock %s: %v", dir, err)
	}
	defer lock.Close()
	if installed(dir) {
		return
	}
	cmd := exec.Command("npm", "ci", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("npm ci in %s: %v\n%s", dir, err, out)
	}
}

// installed reports whether an install of the present lock file was finished: npm writes its own
// copy of that file last.
func installed(dir string) bool {
	want, err := os.Stat(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return false
	}
	got, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json"))
	return err == nil && !got.ModTime().Before(want.ModTime())
}
