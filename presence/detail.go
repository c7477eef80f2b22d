package presence

// Detail is how much of a peer a client may see.
type Detail uint8

const (
	// DetailBrief is the status only: no time, no cause, and no version, which would give the time
	// away.
	DetailBrief Detail = iota
	// DetailFull is everything.
	DetailFull
)
