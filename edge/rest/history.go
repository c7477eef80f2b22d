package rest

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

	"rollcall/ask"
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

// A History keeps the last days of every app, the oldest first. It is sampled, so a peak between
// two samples is missed.
type History struct {
	mu   sync.Mutex
	n    int // samples since the start
	apps map[presence.AppID][]Day
	file string // empty: memory only
}

// OpenHistory reads the days that are kept in dir; empty keeps them in memory. A file that cannot
// be read is started anew, and the error says why: days of counts are not worth a server that does
// not start.
func OpenHistory(dir string) (*History, error) {
	h := &History{apps: map[presence.AppID][]Day{}}
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

// Add takes a sample of app on day.
func (h *History) Add(app presence.AppID, day string, c presence.Counts) {
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

// Days returns the days of app, the oldest first.
func (h *History) Days(app presence.AppID) []Day {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Day{}, h.apps[app]...)
}

// Save writes the days to the data directory.
func (h *History) Save() error {
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
	// HistorySample is how often the counts of every app are to be added.
	HistorySample = 5 * time.Second

	historySave = 12 // samples
)

// Sample adds the counts of apps on the local day, and saves once a minute: the error is why it
// could not. While the store gives no counts there is no sample; that trouble is said elsewhere.
func (h *History) Sample(ctx context.Context, from *ask.Reader, apps []presence.AppID) error {
	day := from.Now().Add(from.Rules.Rules().DayOffset).Time().Format(time.DateOnly)
	for _, app := range apps {
		c, err := from.Counts(ctx, ask.View{App: app, Viewer: ask.Server})
		if err != nil {
			return nil
		}
		h.Add(app, day, c)
	}
	if h.n++; h.n%historySave != 0 {
		return nil
	}
	return h.Save()
}
