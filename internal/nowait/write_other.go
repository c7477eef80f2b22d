//go:build !linux

package nowait

import "errors"

// Able says that this system can.
const Able = false

// Write is never called here.
func Write(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
