//go:build !linux

package nonblock

import "errors"

// Able says that this system can.
const Able = false

// Queued cannot be asked here.
func Queued(uintptr) int { return 0 }

// Write is never called here.
func Write(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
