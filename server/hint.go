package server

import "errors"

// A Hinted error knows what its reader can do about it.
type Hinted struct {
	Err  error
	Hint string
}

func hint(err error, text string) error { return &Hinted{err, text} }

func (h *Hinted) Error() string { return h.Err.Error() }
func (h *Hinted) Unwrap() error { return h.Err }

// HintOf returns the hint of err, or "".
func HintOf(err error) string {
	var h *Hinted
	if errors.As(err, &h) {
		return h.Hint
	}
	return ""
}
