package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"rollcall/ask"
	"rollcall/presence"
)

// Config are the settings of a [Gateway]. Start from [DefaultConfig].
type Config struct {
	// Ping is how long a socket may be silent before the server pings it. 0s disables pings, for
	// clients that do not answer them: the lease is then at least 200s, and the older connection of
	// a device that logs in again ends only with its lease.
	Ping time.Duration
	// Lease is how long a socket may be silent before the server closes it as lost.
	Lease time.Duration
	// Heartbeat is how often this node sends its heartbeat to the store.
	Heartbeat time.Duration `config:"beat"`
	// NodeLease is how long a node may send no heartbeat before the other nodes end its sessions.
	NodeLease time.Duration
	// Grace is how long the sessions of a node that shuts down have to reconnect.
	Grace time.Duration
	// Spread is the time over which a node that shuts down closes its sockets, at most 5s.
	Spread time.Duration
	// Hold is how long watchers are not notified of a lost session. Queries do not wait.
	Hold time.Duration
	// Kicked is how long a kick is remembered: at least the lifetime of tokens and signatures
	// issued before it.
	Kicked time.Duration
	// Stall is how long a client may read nothing of the data that waits for it before its socket
	// is closed.
	Stall time.Duration

	// FirstWord is how long a new socket may send no message at all.
	FirstWord time.Duration
	// LoginTime is how long a socket may have no session, before the first and after the last.
	// After a hello a socket needs no session.
	LoginTime time.Duration

	// MaxSockets is how many sockets this process holds; more are refused. 0 is nine tenths of its
	// file descriptors.
	MaxSockets int
	// MaxSessions is how many sessions one socket may have.
	MaxSessions int
	// MessageLimit is the largest message from a client.
	MessageLimit int `config:",bytes"`
	// EarlyLimit is the largest message of a socket that has not had a session.
	EarlyLimit int `config:",bytes"`
	// OutLimit is how much data may wait for a slow client.
	OutLimit int `config:",bytes"`
	// MessageRate is how many messages a second one socket may send, with bursts of twice that.
	// More are refused; ten seconds' worth of refused messages closes the socket.
	MessageRate int
	// ControlRate is how many pings and pongs a second one socket may send, with bursts of twice
	// that.
	ControlRate int
	// ConnectRate is how many sockets a minute one address may open, with bursts of half that; an
	// IPv6 address counts by its /64. 0 is no limit, and turns off the other limits of an
	// address, too. Behind a proxy, set proxies; otherwise all clients count as one address.
	ConnectRate int
	// EarlySockets is how many open sockets without a session or a hello one address may have. 0 is
	// no limit.
	EarlySockets int
	// LoginRate is how many logins a minute one address may make, with bursts of five minutes'
	// worth, as after a restart of the server. 0 is no limit.
	LoginRate int
	// AppLoginRate is the same limit for all addresses of one app together.
	AppLoginRate int
	// NewPeerRate is how many logins of unknown peers a minute one address may make, since each
	// peer is remembered for presence.offline_memory, with bursts of five minutes' worth. 0 is no
	// limit.
	NewPeerRate int
	// AppNewPeerRate is the same limit for all addresses of one app together. Raise it while an app
	// with many users migrates to this server.
	AppNewPeerRate int

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

// Validate returns every setting out of range, joined; each begins with its key.
func (c *Config) Validate() error {
	var all []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			all = append(all, fmt.Errorf(format, args...))
		}
	}
	check(c.Ping == 0 || c.Ping >= time.Second, "ping is %v, neither 0s nor at least 1s", c.Ping)
	check(c.Ping == 0 || c.Lease >= 2*c.Ping, "lease is %v, shorter than two pings of %v", c.Lease, c.Ping)
	check(c.Ping != 0 || c.Lease >= minBlind, "lease is %v, shorter than %v while pings are off", c.Lease, minBlind)
	check(c.Lease <= 24*time.Hour, "lease is %v, longer than a day", c.Lease)
	check(c.Heartbeat >= 100*time.Millisecond, "beat is %v, less than 100ms", c.Heartbeat)
	check(c.NodeLease >= 2*c.Heartbeat, "node_lease is %v, shorter than two heartbeats of %v", c.NodeLease, c.Heartbeat)
	check(c.Grace >= 0 && c.Grace <= time.Hour, "grace is %v, not between 0s and 1h", c.Grace)
	check(c.Spread >= 0 && c.Spread <= 5*time.Second, "spread is %v, not between 0s and 5s", c.Spread)
	check(c.Hold >= 0 && c.Hold <= presence.MaxHold, "hold is %v, not between 0s and %v", c.Hold, presence.MaxHold)
	check(c.Kicked >= time.Minute && c.Kicked <= presence.MaxLease, "kicked is %v, not between 1m and %v", c.Kicked, presence.MaxLease)
	check(c.Stall >= time.Second, "stall is %v, less than 1s", c.Stall)
	check(c.FirstWord >= time.Second, "first_word is %v, less than 1s", c.FirstWord)
	check(c.LoginTime >= c.FirstWord, "login_time is %v, shorter than first_word %v", c.LoginTime, c.FirstWord)
	check(c.MaxSockets >= 0, "max_sockets is negative")
	check(c.MaxSessions >= 1, "max_sessions is %d, less than 1", c.MaxSessions)
	check(c.EarlyLimit >= 1<<10, "early_limit is %d, less than 1KiB", c.EarlyLimit)
	check(c.MessageLimit >= c.EarlyLimit && c.MessageLimit <= 16<<20, "message_limit is %d, not between early_limit and 16MiB", c.MessageLimit)
	check(c.OutLimit >= 4<<10, "out_limit is %d, less than 4KiB", c.OutLimit)
	check(c.MessageRate >= 1 && c.MessageRate <= 1e6, "message_rate is %d, not between 1 and 1000000", c.MessageRate)
	check(c.ControlRate >= 1 && c.ControlRate <= 1e6, "control_rate is %d, not between 1 and 1000000", c.ControlRate)
	check(c.ConnectRate >= 0 && c.ConnectRate <= 1e9, "connect_rate is %d, not between 0 and 1000000000", c.ConnectRate)
	for _, r := range []struct {
		key string
		n   int
	}{
		{"early_sockets", c.EarlySockets},
		{"login_rate", c.LoginRate},
		{"app_login_rate", c.AppLoginRate},
		{"new_peer_rate", c.NewPeerRate},
		{"app_new_peer_rate", c.AppNewPeerRate},
	} {
		check(r.n >= 0 && r.n <= 1e9, "%s is %d, not between 0 and 1000000000", r.key, r.n)
	}
	for _, o := range c.Origins {
		u, err := url.Parse(o)
		check(o == "*" || err == nil && u.Scheme != "" && u.Host != "" && u.Path == "", "origins has %q, not an origin such as https://app.example.com", o)
	}
	return errors.Join(all...)
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
