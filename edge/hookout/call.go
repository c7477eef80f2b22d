package hookout

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"time"

	"rollcall/internal/trace"
)

// attempt makes one call and reports whether e is over with.
func (s *Sender) attempt(e *Event) bool {
	if time.Since(e.At.Time()) > s.cfg.GiveUp {
		s.count.expired.Add(1)
		return true
	}
	status, err := s.call(e)
	switch {
	case s.ctx.Err() != nil:
		return false
	case err == nil && status/100 == 2:
		s.count.delivered.Add(1)
		return true
	case err == nil && status/100 == 4 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests:
		s.count.refused.Add(1)
		if more, due := s.lines.refused.Due(time.Now().UnixMilli()); due {
			s.log.Warn("hook refused by the app", "hook", e.hook(), "status", status, "more", more)
		}
		return true
	}
	s.count.failed.Add(1)
	if more, due := s.lines.failed.Due(time.Now().UnixMilli()); due {
		s.log.Warn("hook failed; will retry", "hook", e.hook(), "status", status, "err", err, "more", more)
	}
	return false
}

func (s *Sender) call(e *Event) (status int, err error) {
	keys, ok := s.keys(e.App)
	if !ok {
		return http.StatusNotFound, nil // an app that is no longer configured
	}
	body, err := e.body()
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(s.ctx, http.MethodPost, s.base+"/"+e.hook(), bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("make the call: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-LC-Id", keys.ID)
	req.Header.Set("X-LC-Key", keys.Key)
	req.Header.Set("X-LC-Hook-Key", keys.HookKey)
	if c, ok := trace.Parse(e.Trace); ok {
		req.Header.Set(trace.Header, c.Child().String())
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("call: %w", err)
	}
	// So that the connection can be used again.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	_ = resp.Body.Close()
	return resp.StatusCode, nil
}
