//go:build !linux

package sse

import "errors"

// Here it is unknown how much waits, and a reader that stopped is noticed by the write deadline.
const canAsk = false

func (q queue) length() int { return 0 }

// An offer is never made here.
type offer struct{}

func (o *offer) write(*queue, []byte) (int, error) { return 0, errors.ErrUnsupported }
