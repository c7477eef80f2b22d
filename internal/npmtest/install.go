// Package npmtest installs the pinned npm packages that tests run: other people's SDKs and what drives a browser.
package npmtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Install brings the node_modules of dir to what its package-lock.json pins, unless they are there. Tests of several packages may
// call it for one folder at a time.
func Install(tb testing.TB, dir string) {
	tb.Helper()
	folder, err := os.Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	defer folder.Close() // and with it the lock
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX); err != nil {
		tb.Fatalf("lock %s: %v", dir, err)
	}
	if installed(dir) {
		return
	}
	cmd := exec.Command("npm", "ci", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("npm ci in %s: %v\n%s", dir, err, out)
	}
}

// installed reports whether an install of the present lock file was finished: npm writes its own copy of that file last.
func installed(dir string) bool {
	want, err := os.Stat(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return false
	}
	got, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json"))
	return err == nil && !got.ModTime().Before(want.ModTime())
}
