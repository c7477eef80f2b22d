package logs

import "strings"

// reworded are the events of messages whose words have changed since docs/logs.md named their
// event: the message as it is now, and the event as it was.
var reworded = map[string]string{}

// EventOf returns the event of a message: a name that stays the same when the message is reworded.
// It is the message in lower case, its letters and digits joined by underscores, unless reworded
// has an older name for it.
func EventOf(message string) string {
	if event, ok := reworded[message]; ok {
		return event
	}
	var b strings.Builder
	gap := false
	for _, r := range strings.ToLower(message) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			if gap && b.Len() > 0 {
				b.WriteByte('_')
			}
			b.WriteRune(r)
			gap = false
			continue
		}
		gap = true
	}
	return b.String()
}
