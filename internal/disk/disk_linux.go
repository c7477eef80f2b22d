package disk

import (
	"io/fs"
	"syscall"
)

// Sync implements [File]: the data and the length, not the times of the file.
func (f osFile) Sync() error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
		return nil
	}
}

// Allocate implements [File].
func (f osFile) Allocate(size int64) error {
	for {
		err := syscall.Fallocate(int(f.Fd()), 0, 0, size)
		switch err {
		case nil:
			return nil
		case syscall.EINTR:
			continue
		case syscall.EOPNOTSUPP:
			return zeroFill(f, size)
		}
		return &fs.PathError{Op: "fallocate", Path: f.Name(), Err: err}
	}
}

// NextData implements [sparseFile].
func (f osFile) NextData(off, size int64) (from, to int64, err error) {
	const seekData, seekHole = 3, 4
	from, err = syscall.Seek(int(f.Fd()), off, seekData)
	switch err {
	case nil:
	case syscall.ENXIO: // no data from off on
		return size, size, nil
	case syscall.EINVAL, syscall.EOPNOTSUPP: // the file system does not know
		return off, size, nil
	default:
		return 0, 0, &fs.PathError{Op: "seek data", Path: f.Name(), Err: err}
	}
	to, err = syscall.Seek(int(f.Fd()), from, seekHole)
	if err != nil {
		return 0, 0, &fs.PathError{Op: "seek hole", Path: f.Name(), Err: err}
	}
	return min(from, size), min(to, size), nil
}

// DiskSize returns the size of the file system that holds dir.
func (OS) DiskSize(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(st.Blocks) * int64(st.Bsize), nil
}
