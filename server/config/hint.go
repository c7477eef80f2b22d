package config

import "errors"

// A Hinted error knows what its reader can do about it.
type Hinted struct {
	Err  error
	Hint string
	// Settings are wrong: starting again as they are cannot help.
	Settings bool
}

// NewHinted returns err with text as its hint.
func NewHinted(err error, text string) error { return &Hinted{Err: err, Hint: text} }

func (h *Hinted) Error() string { return h.Err.Error() }
func (h *Hinted) Unwrap() error { return h.Err }

// IsSettings reports whether err comes from settings that have to be changed.
func IsSettings(err error) bool {
	var h *Hinted
	return errors.As(err, &h) && h.Settings
}

// HintOf returns the hint of err, or "".
func HintOf(err error) string {
	var h *Hinted
	if errors.As(err, &h) {
		return h.Hint
	}
	return ""
}
