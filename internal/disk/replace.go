package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// TempSuffix ends the name under which [Replace] writes a file before it is renamed. A crash may
// leave such a file behind.
const TempSuffix = ".tmp"

// Replace puts a new file with what write gives it in the place of name and returns it open. After
// a crash or a loss of power either the old file or the new one is there, whole; so it is after an
// error.
func Replace(on FS, name string, write func(File) error) (File, error) {
	temp := name + TempSuffix
	f, err := on.Create(temp)
	if err != nil {
		return nil, err
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), on.Remove(temp))
	}
	if err = on.Rename(temp, name); err == nil {
		err = on.SyncDir(filepath.Dir(name))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// WriteFile is [Replace] by a file that holds b.
func WriteFile(on FS, name string, b []byte) error {
	f, err := Replace(on, name, func(f File) error { return WriteAt(f, b, 0) })
	if err != nil {
		return err
	}
	return f.Close()
}

// ReplaceFile is [Replace] on this machine by a file that holds what r yields and has the rights of
// mode. It leaves nothing beside name when it fails.
func ReplaceFile(name string, mode fs.FileMode, r io.Reader) error {
	_ = os.Remove(name + TempSuffix) // may have other rights, or be no file
	f, err := Replace(OS{}, name, func(f File) error {
		_, err := io.Copy(io.NewOffsetWriter(f, 0), r)
		return errors.Join(err, f.(osFile).Chmod(mode))
	})
	if err != nil {
		_ = os.Remove(name + TempSuffix)
		return err
	}
	return f.Close()
}

// WriteAt writes all of b at off; a short write is an error.
func WriteAt(f File, b []byte, off int64) error {
	n, err := f.WriteAt(b, off)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}
