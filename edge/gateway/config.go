package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"rollcall/presence"
)

// Config are the settings of a [Gateway].
type Config struct {
	// Node names this process; its id carries its start time, so that a restarted node is another node.
	Node presence.NodeID
	// Shared says that other nodes write to the store too; the gateway then looks at every change of a peer it holds.
	Shared bool

	Ping      time.Duration // a socket silent for this long is pinged; negative: never
	Lease     time.Duration // a socket silent for this long is lost
	Beat      time.Duration // how often the node says that it lives
	NodeLease time.Duration // a node that has not beaten for this long is dead to the others
	Grace     time.Duration // how long the sessions of a drained node may take to come back
	Spread    time.Duration // over how long a drained node sends its sockets away
	Hold      time.Duration // how long a lost session lingers before watchers hear of it
	Kicked    time.Duration // how long a kick is remembered: as long as tokens and signatures from before it live
	Stall     time.Duration // a socket that takes nothing of what it was sent for this long is closed

	FirstWord time.Duration // a socket must say something within this
	LoginTime time.Duration // and is closed when it has had no session for this long

	MaxSockets   int // of this process; more are refused with 503
	MaxSessions  int // on one socket
	MessageLimit int // bytes of a message
	EarlyLimit   int // bytes of a message before the first session of a socket
	OutLimit     int // bytes that wait for a client that does not read
	MessageRate  int // messages a second from one socket, with bursts of twice that
	ControlRate  int // pings, pongs and the like a second from one socket
	ConnectRate  int // new sockets a minute from one address, with bursts of half that; 0: any number

	// Origins are the browser origins that may connect, as "https://app.example.com"; an empty list or "*" is any. Clients
	// that send no Origin are not browsers and always may.
	Origins []string
	// GoAway has a drained node ask its clients to ask the router again, for deployments where that leads elsewhere.
	GoAway bool

	// Address returns the address of the client behind r; nil takes the peer of the connection.
	Address func(r *http.Request) netip.Addr
	// Now is the wall clock; nil takes the real one.
	Now func() presence.Millis
	// Events hears of every session that begins and ends; nil hears nothing. It must not block.
	Events func(Event)
	Log    *slog.Logger
	// OneGoroutine has every socket read by a goroutine of its own, also where the poller could.
	OneGoroutine bool
}

// DefaultConfig returns the defaults of the product for node.
func DefaultConfig(node presence.NodeID) Config {
	return Config{
		Node: node,
		Ping: 15 * time.Second, Lease: 45 * time.Second,
		Beat: 5 * time.Second, NodeLease: 15 * time.Second, Grace: 30 * time.Second, Spread: 3 * time.Second,
		Hold: 10 * time.Second, Kicked: 7 * 24 * time.Hour, Stall: 10 * time.Second,
		FirstWord: 15 * time.Second, LoginTime: 10 * time.Minute,
		MaxSockets: maxSockets(), MaxSessions: 128,
		MessageLimit: 64 << 10, EarlyLimit: 8 << 10, OutLimit: 256 << 10,
		MessageRate: 50, ControlRate: 20, ConnectRate: 6000,
		Log: slog.New(slog.DiscardHandler),
	}
}

// minBlind is the shortest lease without pings: the client's own rhythm is 180 s.
const minBlind = 200 * time.Second

// Validate returns what is wrong with c, all of it, or nil.
func (c *Config) Validate() error {
	var all []error
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			all = append(all, fmt.Errorf("gateway: "+format, args...))
		}
	}
	wrong(c.Node == "", "the node has no id")
	wrong(c.Ping == 0, "ping is zero; a negative one switches pings off")
	wrong(c.Ping > 0 && c.Lease < 2*c.Ping, "lease %v is shorter than two pings of %v", c.Lease, c.Ping)
	wrong(c.Ping < 0 && c.Lease < minBlind, "lease %v is shorter than %v, and pings are off", c.Lease, minBlind)
	wrong(c.Beat <= 0 || c.NodeLease < 2*c.Beat, "node lease %v is shorter than two beats of %v", c.NodeLease, c.Beat)
	wrong(c.Hold < 0 || c.Hold > presence.MaxHold, "hold %v is not between 0 and %v", c.Hold, presence.MaxHold)
	wrong(c.Kicked <= 0 || c.Kicked > presence.MaxLease, "kicked %v is not between 0 and %v", c.Kicked, presence.MaxLease)
	wrong(c.Grace < 0 || c.Spread < 0 || c.Stall <= 0, "grace, spread or stall is negative")
	wrong(c.FirstWord <= 0 || c.LoginTime < c.FirstWord, "login time %v is shorter than the first word's %v", c.LoginTime, c.FirstWord)
	wrong(c.MaxSockets <= 0 || c.MaxSessions <= 0, "max sockets and max sessions must be positive")
	wrong(c.EarlyLimit < 1024 || c.MessageLimit < c.EarlyLimit, "message limit %d is less than the early limit %d", c.MessageLimit, c.EarlyLimit)
	wrong(c.OutLimit < 1024, "out limit %d is less than 1024", c.OutLimit)
	wrong(c.MessageRate <= 0 || c.ControlRate <= 0 || c.ConnectRate < 0, "a rate is not positive")
	return errors.Join(all...)
}

func (c *Config) fill() {
	if c.Now == nil {
		c.Now = func() presence.Millis { return presence.MillisOf(time.Now()) }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Address == nil {
		c.Address = remoteAddress
	}
}

func remoteAddress(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
