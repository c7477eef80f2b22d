package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/windows"
)

// openFile lets others rename and remove the file while it is open, as a log that changes its
// segments does.
func openFile(name string, flags int) (*os.File, error) {
	path, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	how := uint32(windows.OPEN_EXISTING)
	switch {
	case flags&os.O_TRUNC != 0:
		how = windows.CREATE_ALWAYS
	case flags&os.O_CREATE != 0:
		how = windows.OPEN_ALWAYS
	}
	const share = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE
	h, err := windows.CreateFile(path, windows.GENERIC_READ|windows.GENERIC_WRITE, share, nil, how, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(h), name), nil
}

// Rename implements [FS]. Windows 10 and later replace a file that is open; where that call is
// missing, only one that is closed.
func (OS) Rename(from, to string) error {
	if err := renameOver(from, to); err == nil {
		return nil
	}
	return os.Rename(from, to)
}

func renameOver(from, to string) error {
	to, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	source, err := windows.UTF16PtrFromString(from)
	if err != nil {
		return err
	}
	target, err := windows.UTF16FromString(to)
	if err != nil {
		return err
	}
	const share = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE
	h, err := windows.CreateFile(source, windows.DELETE, share, nil, windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return err
	}
	defer func() { _ = windows.CloseHandle(h) }()
	// FILE_RENAME_INFO: flags, root directory, length in bytes of the name, name.
	var head struct {
		flags  uint32
		root   windows.Handle
		length uint32
	}
	head.flags = windows.FILE_RENAME_REPLACE_IF_EXISTS | windows.FILE_RENAME_POSIX_SEMANTICS
	head.length = uint32(2 * (len(target) - 1))
	at := unsafe.Offsetof(head.length) + unsafe.Sizeof(head.length)
	info := make([]byte, int(at)+2*len(target))
	copy(info, unsafe.Slice((*byte)(unsafe.Pointer(&head)), at))
	copy(info[at:], unsafe.Slice((*byte)(unsafe.Pointer(&target[0])), 2*len(target)))
	return windows.SetFileInformationByHandle(h, windows.FileRenameInfoEx, &info[0], uint32(len(info)))
}

// Lock implements [FS]. The system lets go of the lock when the process ends, however it ends.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := openFile(name, os.O_RDWR|os.O_CREATE)
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

// SyncDir implements [FS]: NTFS keeps names in its own journal, and has no call that waits for one
// directory.
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
