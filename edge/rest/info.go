package rest

import (
	"time"

	"rollcall/internal/api"
	"rollcall/presence"
	"rollcall/watch"
)

// Info is what GET /v1/info answers: what this server allows, and how wrong an answer may be.
type Info struct {
	Release string          `json:"release"`
	Now     presence.Millis `json:"now"`
	Access  Access          `json:"access"`
	Limits  Limits          `json:"limits"`
	// Seconds are the times that a client may have to know.
	Seconds Times `json:"seconds"`
	// GhostBound is the longest time in seconds that a peer is shown online after its last sign of
	// life, by what held it.
	GhostBound Ghosts `json:"ghost_bound_seconds"`
}

// Access says who may do what on this server: anyone with the app key, or who has a user token.
type Access struct {
	Ask     string `json:"ask"`
	Present string `json:"present"`
}

// Limits are how much a call, a watcher or a socket may ask for.
type Limits struct {
	Body            int `json:"body_bytes"`
	ChangeReaders   int `json:"change_readers"`
	ChangePage      int `json:"changes_per_page"`
	Events          int `json:"events_per_batch"`
	Frame           int `json:"frame_bytes"`
	Hello           int `json:"hello_bytes"`
	Depth           int `json:"json_depth"`
	Message         int `json:"message_bytes"`
	PeerID          int `json:"peer_id_bytes"`
	Devices         int `json:"peers_per_device_query"`
	Page            int `json:"peers_per_page"`
	Query           int `json:"peers_per_query"`
	Watch           int `json:"peers_per_watch"`
	Watched         int `json:"peers_watched"`
	AddressWatched  int `json:"peers_watched_per_address"`
	ResyncBody      int `json:"resync_body_bytes"`
	Sessions        int `json:"sessions_per_resync"`
	Sockets         int `json:"sockets"`
	WatchBody       int `json:"watch_body_bytes"`
	Watchers        int `json:"watchers"`
	AddressWatchers int `json:"watchers_per_address"`
}

// Times are the times that a client may have to know.
type Times struct {
	ChangeWait    float64 `json:"change_wait"`
	DrainGrace    float64 `json:"drain_grace"`
	Hold          float64 `json:"hold"`
	HookLease     float64 `json:"hook_lease"`
	Lease         float64 `json:"lease"`
	Mark          float64 `json:"mark"`
	NodeLease     float64 `json:"node_lease"`
	OfflineMemory float64 `json:"offline_memory"`
	Renewal       float64 `json:"renewal"`
	Reorder       float64 `json:"reorder_window"`
	Signature     float64 `json:"signature_window"`
	Stall         float64 `json:"stall"`
	Sweep         float64 `json:"sweep"`
	Tick          float64 `json:"tick"`
	Ticket        float64 `json:"ticket"`
	Tombstones    float64 `json:"tombstones"`
}

// Ghosts are the longest times that a peer is shown online after its last sign of life, by what
// held it.
type Ghosts struct {
	Hook    float64 `json:"hook"`
	Node    float64 `json:"node"`
	Session float64 `json:"session"`
}

// Others are the settings of other rooms that an answer of GET /v1/info names.
type Others struct {
	Release                   string
	Ask, Present              string // who may, as in the settings
	Rules                     presence.Rules
	Watch                     watch.Config
	Sweep, HookLease, Stall   time.Duration
	Watchers, Watched         int // that a node has at most
	Sockets                   int
	WatchBody, Hello, Message int
	ChangeReaders, ChangePage int
	ChangeWait                time.Duration // of a call for changes
}

// infoOf returns what GET /v1/info answers now.
func (d *Door) infoOf() Info {
	c, o := &d.cfg, &d.deps.Others
	lease, hook, node, sweep := o.Rules.Lease.Seconds(), o.HookLease.Seconds(), c.Nodes.NodeLease.Seconds(), o.Sweep.Seconds()
	return Info{
		Release: o.Release, Now: d.deps.Now(), Access: Access{Ask: o.Ask, Present: o.Present},
		Limits: Limits{
			Query: c.MaxPeers, Devices: c.MaxDevices, Events: c.MaxEvents, Sessions: c.MaxSessions, Page: c.Page, Body: c.MaxBody,
			ResyncBody: ResyncBodies * c.MaxBody, WatchBody: o.WatchBody, Depth: api.MaxDepth, PeerID: presence.MaxPeer,
			Watch: o.Watch.Peers, Frame: o.Watch.Buffer, Watchers: o.Watchers, Watched: o.Watched,
			AddressWatchers: o.Watch.AddressWatchers, AddressWatched: o.Watch.AddressPeers,
			Sockets: o.Sockets, Hello: o.Hello, Message: o.Message, ChangeReaders: o.ChangeReaders, ChangePage: o.ChangePage,
		},
		Seconds: Times{
			ChangeWait: o.ChangeWait.Seconds(), Tick: o.Watch.Tick.Seconds(), Mark: o.Watch.Mark.Seconds(), Stall: o.Stall.Seconds(), Hold: c.Hold.Seconds(),
			Lease: lease, HookLease: hook, NodeLease: node, DrainGrace: c.Nodes.DrainGrace.Seconds(), Sweep: sweep,
			OfflineMemory: o.Rules.OfflineMemory.Seconds(), Tombstones: o.Rules.Tombstones.Seconds(), Reorder: o.Rules.Window.Seconds(),
			Signature: api.SignatureWindow.Seconds(), Ticket: api.TicketLife.Seconds(), Renewal: api.RenewalLife.Seconds(),
		},
		GhostBound: Ghosts{Session: lease + sweep, Hook: hook + sweep, Node: node + sweep},
	}
}
