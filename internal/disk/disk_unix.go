//go:build unix

package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// openFile opens no symbolic link, and does not wait for the other end of a FIFO.
func openFile(name string, flags int) (*os.File, error) {
	return os.OpenFile(name, flags|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, filePerm)
}

// Rename implements [FS].
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Lock implements [FS]. The kernel lets go of the lock when the process ends, however it ends.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := openFile(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrInUse
	}
	return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
}

// SyncDir implements [FS].
func (OS) SyncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Usable returns an error when this process may not read, write and search dir.
func Usable(dir string) error {
	if err := syscall.Access(dir, 0x7); err != nil {
		return &fs.PathError{Op: "access", Path: dir, Err: err}
	}
	return nil
}
