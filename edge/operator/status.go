package operator

import (
	"context"
	"maps"
	"os"
	"runtime"
	"slices"
	"time"

	"rollcall/ask"
	"rollcall/internal/api"
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
	Rates   api.Rates      `json:"per_second"`

	Queries int64            `json:"queries"`
	IDs     int64            `json:"ids"`
	Changes int64            `json:"changes"`
	Expired map[string]int64 `json:"expired"`

	// UnnamedProxies are addresses that send X-Forwarded-For and that proxies does not name: all
	// callers behind one share its rates.
	UnnamedProxies []string `json:"unnamed_proxies,omitempty"`

	Gateway any         `json:"gateway"`
	Store   StoreStatus `json:"store"`
	// Rooms are the counts of the rooms behind the doors, by their own names.
	Rooms      map[string]map[string]int64 `json:"rooms"`
	HeapBytes  uint64                      `json:"heap_bytes"`
	Goroutines int                         `json:"goroutines"`
	LogDropped int64                       `json:"log_lines_dropped"`
}

// AppStatus counts the peers of one app.
type AppStatus struct {
	ID     presence.AppID `json:"id"`
	Online int64          `json:"online"`
	Known  int64          `json:"known"`
	Today  int64          `json:"today"`
	// Unanswered says that the store gave no counts; the zeros mean nothing.
	Unanswered bool `json:"unanswered,omitempty"`
}

// SourceStatus counts what a source has reported since the start, by verdict.
type SourceStatus struct {
	Source   presence.Source  `json:"source"`
	Reports  int64            `json:"reports"`
	Verdicts map[string]int64 `json:"verdicts"`
	Last     string           `json:"last"`
	// Missing are peers that turned offline because a lease of the source ran out.
	Missing int64 `json:"missing_offlines"`
}

// ClockStatus describes a sender whose clock is off, by its reports since the start.
type ClockStatus struct {
	App    presence.AppID  `json:"app"`
	Source presence.Source `json:"source"`
	Node   presence.NodeID `json:"node,omitempty"`
	// Of the last such report: more than zero ahead, less behind, or late.
	OffMS   int64  `json:"off_ms"`
	Reports int64  `json:"reports"`
	Last    string `json:"last"`
}

// StoreStatus is the kind of the store, its trouble and its own counts, by their own names.
type StoreStatus struct {
	Name   string           `json:"name"`
	Where  string           `json:"where,omitempty"`
	Counts map[string]int64 `json:"counts,omitempty"`
}

// expiryCauses are the causes by which a peer turns offline without a report of its source.
var expiryCauses = []presence.Cause{presence.CauseExpired, presence.CauseNodeLost, presence.CauseDrained}

// Status returns what the server is doing. Counts that the store cannot give are left at zero and
// marked, and Trouble says why.
func (d *Door) Status(ctx context.Context) Status {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	counters := d.Service.Counters()
	st := Status{
		Version: d.Version, Phase: d.Phase(), Trouble: d.Store.Trouble(), PID: os.Getpid(),
		Uptime: d.Up().Round(time.Millisecond).Seconds(), Listen: d.Listen, Admin: d.Admin,
		Rates: d.Rates(), Expired: map[string]int64{}, Sources: d.sources(),
		Store:   StoreStatus{Name: d.Store.Name, Where: d.Store.Where, Counts: d.Store.Counts()},
		Gateway: d.Gateway(), UnnamedProxies: d.Unnamed(), Changes: counters.Changes(),
		Rooms: map[string]map[string]int64{callersRoom: d.callers()}, HeapBytes: mem.HeapInuse, Goroutines: runtime.NumGoroutine(),
		LogDropped: d.Dropped(),
	}
	st.Queries, st.IDs = d.Asked()
	for _, r := range d.Rooms {
		st.Rooms[r.Name] = r.Counts()
	}
	counting, cancel := d.Store.Patience(ctx)
	defer cancel()
	for _, app := range d.Apps() {
		c, err := d.Ask.Counts(counting, ask.View{App: app, Viewer: ask.Server})
		if err != nil && st.Trouble == "" {
			st.Trouble = err.Error()
		}
		st.Apps = append(st.Apps, AppStatus{ID: app, Online: c.Online, Known: c.Known, Today: c.Today, Unanswered: err != nil})
	}
	for _, c := range expiryCauses {
		st.Expired[c.String()] = counters.Expired(c)
	}
	for _, c := range counters.Clocks() {
		st.Clocks = append(st.Clocks, ClockStatus{
			App: c.App, Source: c.Source, Node: c.Node, OffMS: c.Off.Milliseconds(), Reports: c.Reports, Last: stamp(c.Last),
		})
	}
	return st
}

// callersRoom names what callers use together in the status.
const callersRoom = "callers"

// callers returns the counts of what callers use together.
func (d *Door) callers() map[string]int64 {
	conns := d.Conns.Stats()
	room := map[string]int64{
		"rate_limited": d.Callers.Limited(),
		"connections":  int64(conns.Open), "refused_connections": conns.Refused,
		"idle_connections": int64(conns.Idle), "evicted_connections": conns.Evicted,
	}
	for of, h := range d.Shares {
		room[of], room["refused_"+of] = h.Used(), h.Refused()
	}
	return room
}

func (d *Door) sources() []SourceStatus {
	list := []SourceStatus{}
	last := d.Service.Counters().Last()
	all, missing := d.Service.Counters().Reports(), d.Service.Counters().Missing()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		one := SourceStatus{Source: name, Verdicts: map[string]int64{}, Missing: missing[name]}
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
