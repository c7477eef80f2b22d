package intake

import (
	"errors"
	"fmt"
	"strings"

	"rollcall/presence"
)

// A Tally says what became of a batch of events. Its counts sum up to the number of events.
type Tally struct {
	Accepted int `json:"accepted"` // counted now
	Double   int `json:"double"`   // counted before
	Late     int `json:"late"`     // a newer event of the session is known
	Stale    int `json:"stale"`    // older than events may be
	Ignored  int `json:"ignored"`  // not understood, or about nothing known
	Full     int `json:"full"`     // the peer has as many sessions as one may have
	// Expired is how many were taken when their lease was over.
	Expired int       `json:"expired_on_arrival,omitempty"`
	Errors  []Problem `json:"errors,omitempty"`
}

// A Problem says why an event was not understood; only the first few are reported.
type Problem struct {
	Index int    `json:"index"` // of the event in its batch
	Code  string `json:"code"`  // see [FieldError]
	Error string `json:"error"`
	Field string `json:"field,omitempty"`
}

const maxProblems = 10

// ignore counts event i, which err makes unusable.
func (t *Tally) ignore(i int, err error) {
	t.Ignored++
	if len(t.Errors) >= maxProblems {
		return
	}
	p := Problem{Index: i, Code: "invalid", Error: fmt.Sprintf("%.160s", strings.ToValidUTF8(err.Error(), "\ufffd"))}
	if f := (*FieldError)(nil); errors.As(err, &f) {
		p.Field, p.Code = fmt.Sprintf("%.64s", strings.ToValidUTF8(f.Field, "\ufffd")), f.Code
	}
	t.Errors = append(t.Errors, p)
}

func (t *Tally) count(v presence.Verdict) {
	switch v {
	case presence.Taken, presence.Swallowed:
		t.Accepted++
	case presence.Double:
		t.Double++
	case presence.Late:
		t.Late++
	case presence.Stale:
		t.Stale++
	case presence.Full:
		t.Full++
	case presence.Expired:
		t.Expired++
	default:
		t.Ignored++
	}
}

func (t *Tally) add(o *Tally) {
	t.Accepted += o.Accepted
	t.Double += o.Double
	t.Late += o.Late
	t.Stale += o.Stale
	t.Ignored += o.Ignored
	t.Full += o.Full
	t.Expired += o.Expired
}
