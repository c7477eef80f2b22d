package server

import (
	"context"
	"runtime"
	"time"

	"rollcall/edge/gateway"
	"rollcall/presence"
)

// Status is what a running server says of itself.
type Status struct {
	Version Version `json:"version"`
	Phase   string  `json:"phase"`
	Trouble string  `json:"trouble,omitempty"`
	PID     int     `json:"pid"`
	Uptime  float64 `json:"uptime_seconds"`
	Listen  string  `json:"listen"`
	Admin   string  `json:"admin"`

	Apps    []AppStatus    `json:"apps"`
	Sources []SourceStatus `json:"sources"`
	Clocks  []ClockStatus  `json:"clocks,omitempty"` // senders whose clocks are off
	Rates   Rates          `json:"per_second"`

	Queries int64            `json:"queries"`
	IDs     int64            `json:"ids"`
	Changes int64            `json:"changes"`
	Expired map[string]int64 `json:"expired"`

	// UnnamedProxies are addresses that send X-Forwarded-For and that gate.proxies does not name: all callers behind one share its rates.
	UnnamedProxies []string `json:"unnamed_proxies,omitempty"`

	Gateway gateway.Stats `json:"gateway"`
	Store   StoreStatus   `json:"store"`
	// Rooms are the counts of the rooms behind the doors, by their own names.
	Rooms      map[string]map[string]int64 `json:"rooms"`
	HeapBytes  uint64                      `json:"heap_bytes"`
	Goroutines int                         `json:"goroutines"`
	LogDropped int64                       `json:"log_lines_dropped"`
}

// AppStatus counts the peers of one app.
type AppStatus struct {
	ID     string `json:"id"`
	Online int64  `json:"online"`
	Known  int64  `json:"known"`
	Today  int64  `json:"today"`
	// Unanswered says that the store gave no counts; the zeros mean nothing.
	Unanswered bool `json:"unanswered,omitempty"`
}

// SourceStatus tells what a source has reported since the start, by what became of it.
type SourceStatus struct {
	Source   string           `json:"source"`
	Reports  int64            `json:"reports"`
	Verdicts map[string]int64 `json:"verdicts"`
	Last     string           `json:"last"`
}

// ClockStatus describes a sender whose clock is off, by its reports since the start.
type ClockStatus struct {
	App     string `json:"app"`
	Source  string `json:"source"`
	Node    string `json:"node,omitempty"`
	OffMS   int64  `json:"off_ms"` // of the last such report: more than zero ahead, less behind, or late
	Reports int64  `json:"reports"`
	Last    string `json:"last"`
}

// Rates are means per second over the last minute.
type Rates struct {
	Reports float64 `json:"reports"`
	Changes float64 `json:"changes"`
	Queries float64 `json:"queries"`
	IDs     float64 `json:"ids"`
}

// StoreStatus tells where the state is kept. Counts are those of the store itself, by their own names.
type StoreStatus struct {
	Name   string           `json:"name"`
	Where  string           `json:"where,omitempty"`
	Counts map[string]int64 `json:"counts,omitempty"`
}

// expiryCauses are the causes by which a peer turns offline without a word of its source.
var expiryCauses = []presence.Cause{presence.CauseExpired, presence.CauseNodeLost, presence.CauseDrained}

// counting bounds how long counts are waited for: a store may have to look at every peer for them, and one that is out of
// reach must not keep whoever looks for the reason waiting.
func (s *Server) counting(ctx context.Context) (context.Context, context.CancelFunc) {
	patience := 5 * time.Second
	if s.store.trouble() != "" {
		patience = time.Second
	}
	return context.WithTimeout(ctx, patience)
}

// Status returns what the server is doing. Counts that the store cannot give are left at zero and marked, and
// Trouble says why.
func (s *Server) Status(ctx context.Context) Status {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	st := Status{
		Version: BuildVersion(), Phase: phaseNames[s.phase.Load()], Trouble: s.store.trouble(), PID: pid(),
		Uptime: s.clock.Up().Round(time.Millisecond).Seconds(), Listen: s.Listen(), Admin: s.Admin(),
		Rates: s.rates.perSecond(), Expired: map[string]int64{}, Sources: []SourceStatus{},
		Store: StoreStatus{Name: s.store.name, Where: s.store.where, Counts: s.store.counts()},
		Rooms: s.roomCounts(), HeapBytes: mem.HeapInuse, Goroutines: runtime.NumGoroutine(),
	}
	if s.sink != nil {
		st.LogDropped = s.sink.Dropped()
	}
	now := s.clock.Now()
	counting, cancel := s.counting(ctx)
	defer cancel()
	for _, a := range s.apps {
		c, err := s.store.Counts(counting, presence.AppID(a.ID), now)
		if err != nil && st.Trouble == "" {
			st.Trouble = err.Error()
		}
		st.Apps = append(st.Apps, AppStatus{ID: a.ID, Online: c.Online, Known: c.Known, Today: c.Today, Unanswered: err != nil})
	}
	st.Gateway, st.UnnamedProxies = s.gateway.Stats(), s.unnamed.list()
	total := s.counted()
	st.Queries, st.IDs, st.Changes = total.Queries, total.IDs, total.Changes
	for _, c := range expiryCauses {
		st.Expired[c.String()] = s.presence.Counters().Expired(c)
	}
	st.Sources = s.sources()
	for _, c := range s.presence.Counters().Clocks() {
		st.Clocks = append(st.Clocks, ClockStatus{
			App: string(c.App), Source: string(c.Source), Node: string(c.Node), OffMS: c.Off.Milliseconds(), Reports: c.Reports, Last: stamp(c.Last),
		})
	}
	return st
}

// counted returns the totals since the start.
func (s *Server) counted() counted {
	asked, rest := s.dialect.Stats(), s.rest.Stats()
	c := counted{Changes: s.presence.Counters().Changes(), Queries: asked.Queries + rest.Queries, IDs: asked.IDs + rest.IDs}
	for _, verdicts := range s.presence.Counters().Reports() {
		for _, n := range verdicts {
			c.Reports += n
		}
	}
	return c
}

func (s *Server) sources() []SourceStatus {
	list := []SourceStatus{}
	last := s.presence.Counters().Last()
	all := s.presence.Counters().Reports()
	for _, name := range sortedKeys(all) {
		one := SourceStatus{Source: string(name), Verdicts: map[string]int64{}}
		for v, n := range all[name] {
			one.Reports += n
			if n > 0 {
				one.Verdicts[v.String()] = n
			}
		}
		if at := last[name]; at != 0 {
			one.Last = stamp(at)
		}
		list = append(list, one)
	}
	return list
}

// stamp writes a time for people and machines alike; "" when it is not known.
func stamp(m presence.Millis) string {
	if m == 0 {
		return ""
	}
	return m.Time().Format("2006-01-02T15:04:05.000Z")
}
