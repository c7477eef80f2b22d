//go:build unix && !linux

package embedded

// Allocate implements [File].
func (f osFile) Allocate(size int64) error { return zeroFill(f, size) }
