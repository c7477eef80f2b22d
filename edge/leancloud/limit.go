package leancloud

import (
	"math"
	"net/http"
	"time"

	"rollcall/internal/api"
	"rollcall/internal/limit"
)

// take charges n of class to the caller of c. Calls in the lane find what they owe beside their
// connection.
func (h *Handler) take(c *call, class limit.Class, n float64) *fault {
	var wait time.Duration
	var ok bool
	if c.lane != nil && int(class) < len(c.lane.owed) {
		wait, ok = h.Callers.TakeFrom(&c.lane.owed[class], class, string(c.app), c.address, n)
	} else {
		wait, ok = h.Callers.TakeOf(class, string(c.app), c.address, string(c.peer), n)
	}
	if ok {
		return nil
	}
	return &fault{
		status: http.StatusTooManyRequests, code: codeTooMany, text: "Too many requests.",
		wait: int(math.Ceil(wait.Seconds())),
	}
}

// secret reports whether c shows a key that is in no copy of the app.
func (c *call) secret() bool {
	return c.rights.Has(api.Master) || c.rights.Has(api.Hook)
}

// takeCall charges one call.
func (h *Handler) takeCall(c *call) *fault {
	if c.secret() {
		return h.take(c, limit.Serve, 1)
	}
	return h.take(c, limit.Ask, 1)
}

// smallBody is the size of a body that costs no more than the call.
const smallBody = 4 << 10

// takeBytes charges a body of n bytes, less what was charged for it before: it costs its time
// before it is known how many peers it names.
func (h *Handler) takeBytes(c *call, n int) *fault {
	if c.secret() || n < smallBody {
		return nil
	}
	more := n/limit.PeerBytes - c.paid
	c.paid += max(more, 0)
	return h.take(c, limit.AskPeers, float64(more))
}

// takeIDs charges n ids.
func (h *Handler) takeIDs(c *call, n int) *fault {
	if c.secret() {
		return nil
	}
	return h.take(c, limit.AskPeers, float64(n-c.paid))
}

// unauthorized refuses a caller that shows no key of ours, and charges its address, whichever app
// it names.
func (h *Handler) unauthorized(c *call) *fault {
	stranger := call{address: c.address}
	if fail := h.take(&stranger, limit.Refused, 1); fail != nil {
		return fail
	}
	return errUnauthorized
}
