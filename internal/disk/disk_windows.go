package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// Windows opens no link by accident unless it was made with rights that most users lack, and has no FIFOs in directories.
const (
	noFollow = 0
	nonBlock = 0
)

// Lock implements [FS]. The system lets go of the lock when the process ends, however it ends.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, filePerm)
	if err != nil {
		return nil, err
	}
	const exclusiveNow = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err = windows.LockFileEx(windows.Handle(f.Fd()), exclusiveNow, 0, 1, 0, new(windows.Overlapped))
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		err = ErrInUse
	}
	return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
}

// SyncDir implements [FS]: NTFS keeps names in its own journal, and has no call that waits for one directory.
func (OS) SyncDir(string) error { return nil }

// Allocate implements [File].
func (f osFile) Allocate(size int64) error { return zeroFill(f, size) }

// Usable returns an error when this process may not make files in dir.
func Usable(dir string) error {
	f, err := os.CreateTemp(dir, "usable")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
