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
	// Ping is how long a socket may be silent before it is pinged. 0s never pings, for clients that do not answer: the lease is then at
	// least 200s, and the older connection of a device that logs in again ends with its lease only.
	Ping time.Duration
	// Lease is how long a socket may be silent before it is lost.
	Lease time.Duration
	// Heartbeat is how often this node sends its heartbeat to the store.
	Heartbeat time.Duration `config:"beat"`
	// NodeLease is how long a node may be silent before the others take it for dead.
	NodeLease time.Duration
	// Grace is how long the sessions of a node that was shut down may take to come back.
	Grace time.Duration
	// Spread is over how long a node that shuts down sends its sockets away, at most 5s.
	Spread time.Duration
	// Hold is how long a lost session lingers before watchers hear of it. Queries do not wait.
	Hold time.Duration
	// Kicked is how long a kick is remembered: at least as long as the tokens and signatures from before it live.
	Kicked time.Duration
	// Stall is how long a client may take nothing of what it was sent before it is closed.
	Stall time.Duration

	// FirstWord is how long a new socket may say nothing at all.
	FirstWord time.Duration
	// LoginTime is how long a socket may have no session, before the first and after the last. One that said hello needs none.
	LoginTime time.Duration

	// MaxSockets is how many sockets this process holds; more are refused. 0 takes nine tenths of the descriptors it may have.
	MaxSockets int
	// MaxSessions is how many sessions one socket may have.
	MaxSessions int
	// MessageLimit is the largest message from a client.
	MessageLimit int `config:",bytes"`
	// EarlyLimit is the largest message of a socket that has not had a session.
	EarlyLimit int `config:",bytes"`
	// OutLimit is how much may wait for a client that does not read.
	OutLimit int `config:",bytes"`
	// MessageRate is how many messages a second one socket may send, with bursts of twice that. More are refused; ten seconds' worth
	// of refused ones on end closes the socket.
	MessageRate int
	// ControlRate is how many pings and pongs a second one socket may send, with bursts of twice that.
	ControlRate int
	// ConnectRate is how many sockets a minute one address may open, with bursts of half that; an IPv6 address counts by its
	// /64. 0 is any number, and turns off the other limits of an address, too. Behind a proxy name it
	// in proxies, or all clients are one address.
	ConnectRate int
	// EarlySockets is how many sockets of one address may be open that have had no session and no hello. 0 is any number.
	EarlySockets int
	// LoginRate is how many logins a minute one address may make; five minutes' worth may come at once, as they do when a server
	// restarts. 0 is any number.
	LoginRate int
	// AppLoginRate is the same for all addresses of one app.
	AppLoginRate int
	// NewPeerRate is how many logins a minute of one address may be of unknown peers, since each is remembered for
	// presence.offline_memory; five minutes' worth may come at once. 0 is any number.
	NewPeerRate int
	// AppNewPeerRate is the same for all addresses of one app. Raise it for the day on which an app with many users moves here.
	AppNewPeerRate int

	// Origins are the browser origins that may connect, as "https://app.example.com"; an empty list or "*" is any. Clients
	// that send no Origin are not browsers and always may.
	Origins []string
	// GoAway has a drained node ask its clients to ask the router again, for deployments where that leads elsewhere.
	GoAway bool

	// OneGoroutine has every socket read by a goroutine of its own, also where one poller could watch them all: eight times
	// the memory, for platforms where the poller is in doubt.
	OneGoroutine bool
}

// Deps are what a gateway stands on.
type Deps struct {
	Service Service
	// Ask answers what clients ask of peers.
	Ask *ask.Reader
	// Node names this process; its id carries its start time, so that a restarted node is another node.
	Node presence.NodeID
	// Shared says that other nodes write to the store too; the gateway then looks at every change of a peer it holds.
	Shared bool
	// Address returns the address of the client behind r; nil takes the peer of the connection.
	Address func(r *http.Request) netip.Addr
	// Now is the wall clock; nil takes the real one.
	Now func() presence.Millis
	// Events hears of every session that begins and ends; nil hears nothing. It must not block.
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
