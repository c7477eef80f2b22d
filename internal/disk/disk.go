package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// FS is a file system.
type FS interface {
	// MkdirAll makes a directory and those above it.
	MkdirAll(dir string) error
	// Lock takes the lock file name for this process; it fails with an error matching ErrInUse when
	// another has it.
	Lock(name string) (io.Closer, error)
	// List returns the names in a directory.
	List(dir string) ([]string, error)
	// Create makes an empty file and opens it for writing; what was there is gone.
	Create(name string) (File, error)
	// Open opens a regular file for reading and writing; anything else by that name is refused.
	Open(name string) (File, error)
	// Rename puts from in the place of to in one step, while either may be open.
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
}

// A File is an open file of an [FS].
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes what was written durable.
	Sync() error
	// Allocate reserves the first size bytes on disk; they read as zero.
	Allocate(size int64) error
	Truncate(size int64) error
	Size() (int64, error)
}

// ErrInUse: another process has the directory open.
var ErrInUse = errors.New("in use by another process")

// OS is the real file system.
type OS struct{}

const (
	filePerm = 0o600
	dirPerm  = 0o700
)

// MkdirAll implements [FS].
func (OS) MkdirAll(dir string) error { return os.MkdirAll(dir, dirPerm) }

// List implements [FS].
func (OS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// Create implements [FS].
func (OS) Create(name string) (File, error) {
	f, err := openFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	return osFile{f}, err
}

// Open implements [FS].
func (OS) Open(name string) (File, error) {
	f, err := openFile(name, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("not a regular file, but %v", info.Mode().Type())}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return osFile{f}, nil
}

// Remove implements [FS].
func (OS) Remove(name string) error { return os.Remove(name) }

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// zeroFill reserves space where the system has no call for it.
func zeroFill(f File, size int64) error {
	zeros := make([]byte, 1<<20)
	for off := int64(0); off < size; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(size-off, int64(len(zeros)))], off); err != nil {
			return err
		}
	}
	return nil
}
