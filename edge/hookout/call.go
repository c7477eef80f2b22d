package hookout

import (
	"net/http"
	"time"

	"rollcall/internal/outbox"
	"rollcall/internal/trace"
)

// attempt makes one call.
func (s *Sender) attempt(e *Event) outbox.Progress {
	if time.Since(e.At.Time()) > s.cfg.GiveUp {
		s.count.expired.Add(1)
		return outbox.Over
	}
	result, status, err := s.call(e)
	switch {
	case s.ctx.Err() != nil:
		return outbox.Again // and the pause finds it closed
	case result == outbox.Taken:
		s.count.delivered.Add(1)
		return outbox.Over
	case result == outbox.Refused:
		s.count.refused.Add(1)
		if more, due := s.lines.refused.Due(time.Now().UnixMilli()); due {
			s.log.Warn("hook refused by the app", "hook", e.hook(), "status", status, "more", more)
		}
		return outbox.Over
	}
	s.count.failed.Add(1)
	if more, due := s.lines.failed.Due(time.Now().UnixMilli()); due {
		s.log.Warn("hook failed; will retry", "hook", e.hook(), "status", status, "err", err, "more", more)
	}
	return outbox.Again
}

func (s *Sender) call(e *Event) (outbox.Result, int, error) {
	keys, ok := s.keys(e.App)
	if !ok {
		return outbox.Refused, http.StatusNotFound, nil // an app that is no longer configured
	}
	body, err := e.body()
	if err != nil {
		return outbox.Failed, 0, err
	}
	header := http.Header{}
	header.Set("X-LC-Id", keys.ID)
	header.Set("X-LC-Key", keys.Key)
	header.Set("X-LC-Hook-Key", keys.HookKey)
	if c, ok := trace.Parse(e.Trace); ok {
		header.Set(trace.Header, c.Child().String())
	}
	return outbox.Post(s.ctx, s.client, s.base+"/"+e.hook(), header, body)
}
