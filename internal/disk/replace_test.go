package disk_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"rollcall/internal/disk"
)

var errDisk = errors.New("the disk fails")

// A faultFS fails one operation.
type faultFS struct {
	disk.OS
	op string
}

func (f faultFS) fail(op string) error {
	if op == f.op {
		return errDisk
	}
	return nil
}

func (f faultFS) Create(name string) (disk.File, error) {
	file, err := f.OS.Create(name)
	return faultFile{file, f}, errors.Join(err, f.fail("create"))
}

func (f faultFS) Rename(from, to string) error {
	if err := f.fail("rename"); err != nil {
		return err
	}
	return f.OS.Rename(from, to)
}

func (f faultFS) SyncDir(dir string) error { return errors.Join(f.fail("sync dir"), f.OS.SyncDir(dir)) }

type faultFile struct {
	disk.File
	fs faultFS
}

func (f faultFile) Sync() error { return errors.Join(f.fs.fail("sync"), f.File.Sync()) }

func (f faultFile) WriteAt(b []byte, off int64) (int, error) {
	if f.fs.op == "short write" {
		b = b[:len(b)/2]
	}
	n, err := f.File.WriteAt(b, off)
	return n, errors.Join(err, f.fs.fail("write"))
}

// TestAReplacedFileIsWhole: whatever fails, the file has its old content or the new one.
func TestAReplacedFileIsWhole(t *testing.T) {
	for op, want := range map[string]string{
		"": "new", "create": "old", "write": "old", "short write": "old", "sync": "old", "rename": "old", "sync dir": "new",
	} {
		name := filepath.Join(t.TempDir(), "file")
		if err := disk.WriteFile(disk.OS{}, name, []byte("old")); err != nil {
			t.Fatal(err)
		}
		if err := disk.WriteFile(faultFS{op: op}, name, []byte("new")); (err == nil) != (op == "") {
			t.Errorf("%s: %v", op, err)
		}
		if b, err := os.ReadFile(name); err != nil || string(b) != want {
			t.Errorf("%s: the file holds %q, %v; want %q", op, b, err, want)
		}
		if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: the mode is %v, %v", op, st.Mode(), err)
		}
	}
}

// A file is replaced with its mode, also over what a crash left in its way; one that cannot be read
// to its end changes nothing.
func TestReplaceFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "program")
	if err := os.Symlink(name, name+disk.TempSuffix); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a longer text", "short"} {
		if err := disk.ReplaceFile(name, 0o755, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(name)
		if err != nil || runtime.GOOS != "windows" && info.Mode() != 0o755 {
			t.Errorf("the file is %v, %v", info, err)
		}
		if b, err := os.ReadFile(name); string(b) != text || err != nil {
			t.Errorf("the file holds %q, %v; want %q", b, err, text)
		}
	}
	if err := disk.ReplaceFile(name, 0o644, iotest.ErrReader(errDisk)); !errors.Is(err, errDisk) {
		t.Errorf("a text that cannot be read: %v", err)
	}
	if b, err := os.ReadFile(name); string(b) != "short" || err != nil {
		t.Errorf("after a failure the file holds %q, %v", b, err)
	}
	if entries, err := os.ReadDir(filepath.Dir(name)); len(entries) != 1 || err != nil {
		t.Errorf("%v stay behind, %v", entries, err)
	}
}
