package leancloud

import (
	"context"
	"net/http"

	"rollcall/internal/api"
	"rollcall/internal/trace"
	"rollcall/presence"
)

var answerFunctions = []byte(`{"result":["_clientOffline","_clientOnline","getOnOffStatus"]}`)

// call answers the function that c names.
func (h *Handler) call(ctx context.Context, c *call, s *scratch) answer {
	switch c.name {
	case "getOnOffStatus":
		return h.onOffStatus(ctx, c, s)
	case "_clientOnline":
		return h.hook(ctx, c, presence.KindOnline)
	case "_clientOffline":
		return h.hook(ctx, c, presence.KindOffline)
	case "_ops/metadatas":
		if !c.rights.Has(api.Master) {
			return h.unauthorized(c).answer()
		}
		return answer{status: http.StatusOK, body: answerFunctions}
	}
	return notFound("No such cloud function '" + c.name + "'").answer()
}

// storeFault answers 503 for a store that failed. The reason goes to the log, at a limited rate,
// and not to the caller.
func (h *Handler) storeFault(ctx context.Context, doing string, err error) *fault {
	h.counters.unavailable.Add(1)
	if unsaid, due := h.faulty.Due(int64(h.Now())); due {
		h.Log.Warn("store did not answer", "doing", doing, "unsaid", unsaid, "err", err, trace.Attr(ctx))
	}
	return errUnavailable
}
