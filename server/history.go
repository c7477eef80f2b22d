package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"rollcall/internal/disk"
	"rollcall/presence"
)

// A Day is what is kept of one day of an app.
type Day struct {
	Day      string `json:"day"`      // local, such as 2026-11-23
	Peak     int64  `json:"peak"`     // most peers online at one time, as sampled
	Distinct int64  `json:"distinct"` // peers that came online
}

// historyDays is how many days are kept.
const historyDays = 30

// HistoryFile keeps the days in the data directory.
const HistoryFile = "history.json"

// history remembers the last days of every app, the oldest first. It is sampled, so a peak between two samples is missed.
type history struct {
	mu   sync.Mutex
	apps map[presence.AppID][]Day
	file string // empty: memory only
}

// openHistory reads what the data directory remembers. A file that cannot be read is started anew: days of counts are not
// worth a server that does not start.
func openHistory(dir string) (*history, error) {
	h := &history{apps: map[presence.AppID][]Day{}}
	if dir == "" {
		return h, nil
	}
	h.file = filepath.Join(dir, HistoryFile)
	b, err := os.ReadFile(h.file)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &h.apps)
	}
	if err != nil || h.apps == nil {
		h.apps = map[presence.AppID][]Day{}
	}
	if err != nil {
		return h, fmt.Errorf("read %s: %w", h.file, err)
	}
	return h, nil
}

// add takes a sample of app on day.
func (h *history) add(app presence.AppID, day string, c presence.Counts) {
	h.mu.Lock()
	defer h.mu.Unlock()
	days := h.apps[app]
	if n := len(days); n == 0 || days[n-1].Day < day {
		days = append(days, Day{Day: day})
	}
	last := &days[len(days)-1]
	last.Peak = max(last.Peak, c.Online)
	if last.Day == day {
		last.Distinct = max(last.Distinct, c.Today)
	}
	h.apps[app] = days[max(0, len(days)-historyDays):]
}

// days returns the days of app, the oldest first.
func (h *history) days(app presence.AppID) []Day {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Day{}, h.apps[app]...)
}

// save writes the days down.
func (h *history) save() error {
	if h.file == "" {
		return nil
	}
	h.mu.Lock()
	b, err := json.Marshal(h.apps)
	h.mu.Unlock()
	if err == nil {
		err = disk.WriteFile(disk.OS{}, h.file, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", h.file, err)
	}
	return nil
}

const (
	historySample = 5 * time.Second
	historySave   = 12 // samples
)

// remember returns what samples the counts of every app, and now and then writes them down.
func (s *Server) remember() func(context.Context) {
	n, failing := 0, false
	return func(ctx context.Context) {
		now := s.clock.Now()
		day := now.Add(s.cfg.Presence.Rules.DayOffset).Time().Format(time.DateOnly)
		for _, a := range s.apps {
			c, err := s.store.Counts(ctx, presence.AppID(a.ID), now)
			if err != nil {
				return // the store's trouble is told elsewhere
			}
			s.history.add(presence.AppID(a.ID), day, c)
		}
		if n++; n%historySave != 0 {
			return
		}
		err := s.history.save()
		if err != nil && !failing {
			s.log.Warn("the days' counts cannot be written", "err", err)
		}
		failing = err != nil
	}
}
