package presence

import "errors"

// The class of an error says what the caller may do next; the text around it says what happened.
var (
	// ErrInvalid: the input breaks a rule; sending it again will fail again. Nothing was counted.
	ErrInvalid = errors.New("invalid")
	// ErrUnavailable: the store did not answer; the report may or may not be counted, and sending
	// it again is safe.
	ErrUnavailable = errors.New("store unavailable")
	// ErrFull: a queue, a disk or a limit is full; nothing was counted, and sending it again later
	// is safe.
	ErrFull = errors.New("full")
)
