//go:build unix && !linux

package disk

// Allocate implements [File].
func (f osFile) Allocate(size int64) error { return zeroFill(f, size) }
