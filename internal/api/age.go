package api

import (
	"strconv"
	"time"
)

// Age writes how old an answer is for the header Rollcall-Stale: in seconds, with milliseconds.
func Age(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }
