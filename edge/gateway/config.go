package gateway

import (
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"rollcall/ask"
	"rollcall/internal/configload"
	"rollcall/presence"
)

// Config are the settings of a [Gateway]. Start from [DefaultConfig].
type Config struct {
	// Ping is how long a socket may be silent before the server pings it. 0s disables pings, for
	// clients that do not answer them: the lease is then at least 200s, and the older connection of
	// a device that logs in again ends only with its lease.
	Ping time.Duration `range:"0s,1s.."`
	// Lease is how long a socket may be silent before the server closes it as lost.
	Lease time.Duration `range:"2s..1d"`
	// Heartbeat is how often this node sends its heartbeat to the store.
	Heartbeat time.Duration `config:"beat" range:"100ms.."`
	// NodeLease is how long a node may send no heartbeat before the other nodes end its sessions.
	NodeLease time.Duration `range:"200ms.."`
	// Grace is how long the sessions of a node that shuts down have to reconnect.
	Grace time.Duration `range:"0s..1h"`
	// Spread is the time over which a node that shuts down closes its sockets.
	Spread time.Duration `range:"0s..5s"`
	// Hold is how long watchers are not notified of a lost session. Queries do not wait.
	Hold time.Duration `range:"0s..10m"`
	// Kicked is how long a kick is remembered: at least the lifetime of tokens and signatures
	// issued before it.
	Kicked time.Duration `range:"1m..30d"`
	// Stall is how long a client may read nothing of the data that waits for it before its socket
	// is closed.
	Stall time.Duration `range:"1s.."`

	// FirstWord is how long a new socket may send no message at all.
	FirstWord time.Duration `range:"1s.."`
	// LoginTime is how long a socket may have no session, before the first and after the last.
	// After a hello a socket needs no session.
	LoginTime time.Duration `range:"1s.."`

	// MaxSockets is how many sockets this process holds; more are refused. 0 is nine tenths of its
	// file descriptors.
	MaxSockets int `range:"0.."`
	// MaxSessions is how many sessions one socket may have.
	MaxSessions int `range:"1.."`
	// MessageLimit is the largest message from a client.
	MessageLimit int `config:",bytes" range:"1KiB..16MiB"`
	// EarlyLimit is the largest message of a socket that has not had a session.
	EarlyLimit int `config:",bytes" range:"1KiB..16MiB"`
	// OutLimit is how much data may wait for a slow client.
	OutLimit int `config:",bytes" range:"4KiB.."`
	// MessageRate is how many messages a second one socket may send, with bursts of twice that.
	// More are refused; ten seconds' worth of refused messages closes the socket.
	MessageRate int `range:"1..1000000"`
	// ControlRate is how many pings and pongs a second one socket may send, with bursts of twice
	// that.
	ControlRate int `range:"1..1000000"`
	// ConnectRate is how many sockets a minute one address may open, with bursts of half that; an
	// IPv6 address counts by its /64. 0 is no limit, and turns off the other limits of an
	// address, too. Behind a proxy, set proxies; otherwise all clients count as one address.
	ConnectRate int `config:",live" range:"0..1000000000"`
	// EarlySockets is how many open sockets without a session or a hello one address may have. 0 is
	// no limit.
	EarlySockets int `config:",live" range:"0..1000000000"`
	// LoginRate is how many logins a minute one address may make, with bursts of five minutes'
	// worth, as after a restart of the server. 0 is no limit.
	LoginRate int `config:",live" range:"0..1000000000"`
	// AppLoginRate is the same limit for all addresses of one app together.
	AppLoginRate int `config:",live" range:"0..1000000000"`
	// NewPeerRate is how many logins of unknown peers a minute one address may make, since each
	// peer is remembered for presence.offline_memory, with bursts of five minutes' worth. 0 is no
	// limit.
	NewPeerRate int `config:",live" range:"0..1000000000"`
	// AppNewPeerRate is the same limit for all addresses of one app together. Raise it while an app
	// with many users migrates to this server.
	AppNewPeerRate int `config:",live" range:"0..1000000000"`

	// Origins are the browser origins that may connect, as "https://app.example.com"; an empty list
	// or "*" is any. Clients that send no Origin are not browsers and may always connect.
	Origins []string
	// GoAway makes a draining node send its clients back to the router, for deployments where the
	// router names another node.
	GoAway bool

	// OneGoroutine reads every socket in a goroutine of its own instead of by one poller: eight
	// times the memory, to rule out the poller as the cause of a fault.
	OneGoroutine bool
}

// Deps are the dependencies of a gateway.
type Deps struct {
	Service Service
	// Ask answers what clients ask of peers.
	Ask *ask.Reader
	// Node names this process; its id carries its start time, so that a restarted node is another
	// node.
	Node presence.NodeID
	// Shared reports that other nodes write to the store too; the gateway then checks every change
	// of a peer it holds.
	Shared bool
	// Address returns the address of the client behind r; nil takes the remote address of the
	// connection.
	Address func(r *http.Request) netip.Addr
	// Now is the wall clock; nil takes the system clock.
	Now func() presence.Millis
	// Events receives every session that begins or ends; nil discards them. It must not block.
	Events func(Event)
	Log    *slog.Logger
}

// DefaultConfig returns the defaults of the product.
func DefaultConfig() Config {
	return Config{
		Ping: 15 * time.Second, Lease: 45 * time.Second,
		Heartbeat: 5 * time.Second, NodeLease: 15 * time.Second, Grace: 30 * time.Second, Spread: 3 * time.Second,
		Hold: 10 * time.Second, Kicked: 7 * 24 * time.Hour, Stall: 10 * time.Second,
		FirstWord: 15 * time.Second, LoginTime: time.Minute,
		MaxSessions:  128,
		MessageLimit: 64 << 10, EarlyLimit: 8 << 10, OutLimit: 256 << 10,
		MessageRate: 50, ControlRate: 20, ConnectRate: 6000, EarlySockets: 1000,
		LoginRate: 12_000, AppLoginRate: 120_000, NewPeerRate: 300, AppNewPeerRate: 6000,
	}
}

// Validate returns what is wrong beyond the ranges of single settings, joined; each begins with its
// key.
func (c *Config) Validate() error {
	var f configload.Faults
	f.When(c.Lease < 2*c.Ping, "lease is %v, shorter than two pings of %v", c.Lease, c.Ping)
	f.When(c.Ping == 0 && c.Lease < minBlind, "lease is %v, shorter than %v while pings are off", c.Lease, minBlind)
	f.When(c.NodeLease < 2*c.Heartbeat, "node_lease is %v, shorter than two heartbeats of %v", c.NodeLease, c.Heartbeat)
	f.When(c.LoginTime < c.FirstWord, "login_time is %v, shorter than first_word %v", c.LoginTime, c.FirstWord)
	f.When(c.MessageLimit < c.EarlyLimit, "message_limit is %d, less than early_limit %d", c.MessageLimit, c.EarlyLimit)
	for _, o := range c.Origins {
		u, err := url.Parse(o)
		f.When(o != "*" && (err != nil || u.Scheme == "" || u.Host == "" || u.Path != ""), "origins has %q, not an origin such as https://app.example.com", o)
	}
	return f.Err()
}

func (d *Deps) fill() {
	if d.Now == nil {
		d.Now = func() presence.Millis { return presence.MillisOf(time.Now()) }
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Address == nil {
		d.Address = remoteAddress
	}
}

// minBlind is the shortest lease without pings: the client's own rhythm is 180 s.
const minBlind = 200 * time.Second

func remoteAddress(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
