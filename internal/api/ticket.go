package api

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"rollcall/presence"
)

// Tickets let a browser open a stream without a key in its address: an EventSource sets no headers,
// and addresses end up in logs. A ticket is bought with the key by a POST, is good for 30 s and, on
// each node, for one stream at a time. The stream it opens carries a renewal in its event ids,
// which the browser sends back in a header when it connects again; it is good until 24 h after the
// purchase.
//
// A ticket is signed with a secret of its app, so any node that knows the app can check it. All
// times are those of the server's clock.
type Tickets struct {
	mu   sync.Mutex
	used map[presence.AppID]map[[nonceSize]byte]*use // by app id
}

// A use is a ticket that opened a stream.
type use struct {
	expires int64
	gone    chan struct{} // closed when the stream is
}

// goneWithin is how long a ticket waits for the end of the stream that it opened: a reader that was
// cut off may be back before its end is noticed.
const goneWithin = 2 * time.Second

// open reports whether the stream is there.
func (u *use) open() bool {
	select {
	case <-u.gone:
		return false
	default:
		return true
	}
}

// How long the two kinds are good after the purchase.
const (
	TicketLife  = 30 * time.Second
	RenewalLife = 24 * time.Hour
)

const (
	// Kinds 1 and 2 are those of the first release, see passOfFirst.
	kindTicket, kindRenewal = 3, 4
	// The same of a caller with a name: the head goes on with its token's times, and its peer.
	kindNamedTicket, kindNamedRenewal = 5, 6

	flagDetail, flagBound, flagServer = 1, 2, 4

	nonceSize  = 12
	listSize   = 16
	ticketHead = 1 + 1 + 8 + nonceSize + listSize // kind, flags, purchase, nonce, list
	namedHead  = 8 + 8                            // issued, expires; the peer follows
	ticketMAC  = 16
	maxUsed    = 1 << 16 // of one app: what one has spent takes nothing from another
)

// A Pass is what a ticket or a renewal gives: the rights of the app key, and what was asked for at
// the purchase.
type Pass struct {
	Bought int64 // in Unix milliseconds of the server's clock
	Detail bool  // it sees times, causes and versions
	Bound  bool  // it is for one list of peers only
	Server bool  // a server of the app bought it

	// Who bought it with a user token, and when that was issued and expires; "" is no such caller.
	Peer            presence.PeerID
	Issued, Expires presence.Millis

	list  [listSize]byte
	nonce [nonceSize]byte
	// Of the first release: it opens nothing from then on; what it has opened ends as any other. 0:
	// no such time.
	until int64
}

// NewPass returns what a ticket is to give that is bought at now. With peers it is for exactly
// these; without, for any.
func NewPass(peers []presence.PeerID, detail bool, now int64) Pass {
	p := Pass{Bought: now, Detail: detail, Bound: len(peers) > 0}
	if p.Bound {
		p.list = listOf(peers)
	}
	return p
}

// For returns p bound to peers: the renewals of a stream are for what the stream is for.
func (p *Pass) For(peers []presence.PeerID) *Pass {
	bound := *p
	bound.Bound, bound.list = true, listOf(peers)
	return &bound
}

// By returns p as c buys it: with the name of c.
func (p Pass) By(c *Caller) Pass {
	p.Server = c.Secret()
	if c.User != nil {
		p.Peer, p.Issued, p.Expires = c.User.Peer, c.User.Issued, c.User.Expires
	}
	return p
}

// Ends returns when the pass ends, and with it the streams that it opened: not after the user token
// that bought it.
func (p *Pass) Ends() int64 {
	ends := p.Bought + RenewalLife.Milliseconds()
	if p.Peer != "" {
		ends = min(ends, max(int64(p.Expires), p.Bought)+Grace.Milliseconds())
	}
	return ends
}

// listOf names a list of peers without regard to order and repetition.
func listOf(peers []presence.PeerID) (name [listSize]byte) {
	sorted := slices.Compact(slices.Sorted(slices.Values(peers)))
	h := sha256.New()
	for _, p := range sorted {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	copy(name[:], h.Sum(nil))
	return name
}

// NewTickets returns an empty book of used tickets.
func NewTickets() *Tickets { return &Tickets{used: map[presence.AppID]map[[nonceSize]byte]*use{}} }

func signTicket(app *App, secret string, head []byte) []byte {
	m := hmac.New(sha256.New, []byte("rollcall ticket "+secret))
	m.Write([]byte(app.ID))
	m.Write([]byte{0})
	m.Write(head)
	return m.Sum(nil)[:ticketMAC]
}

func issue(app *App, kind byte, p *Pass) string {
	head := make([]byte, ticketHead, ticketHead+ticketMAC)
	head[0] = kind
	if p.Server {
		head[1] |= flagServer
	}
	if p.Detail {
		head[1] |= flagDetail
	}
	if p.Bound {
		head[1] |= flagBound
	}
	binary.BigEndian.PutUint64(head[2:], uint64(p.Bought))
	copy(head[10:], p.nonce[:])
	copy(head[10+nonceSize:], p.list[:])
	if p.Peer != "" {
		head[0] += kindNamedTicket - kindTicket
		head = binary.BigEndian.AppendUint64(head, uint64(p.Issued))
		head = binary.BigEndian.AppendUint64(head, uint64(p.Expires))
		head = append(head, p.Peer...)
	}
	return base64.RawURLEncoding.EncodeToString(append(head, signTicket(app, app.Secret(), head)...))
}

// Issue returns a ticket for p on app, and when it expires.
func (t *Tickets) Issue(app *App, p Pass) (ticket string, expires int64) {
	_, _ = rand.Read(p.nonce[:])
	return issue(app, kindTicket, &p), p.Bought + TicketLife.Milliseconds()
}

// Renewal returns what takes the place of a ticket when its stream breaks.
func (t *Tickets) Renewal(app *App, p *Pass) string { return issue(app, kindRenewal, p) }

// Redeem returns what ticket gives on app at now, nil when it gives nothing. A ticket opens one
// stream at a time: when its stream is gone, release makes it good again for what is left of its
// life. While the stream is there Redeem waits a moment for its end, or until ctx is done.
func (t *Tickets) Redeem(ctx context.Context, app *App, ticket string, now int64) (p *Pass, release func()) {
	p = open(app, ticket, kindTicket)
	if p == nil || now >= min(p.Bought+TicketLife.Milliseconds(), p.Ends()) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, goneWithin)
	defer cancel()
	for {
		u, ok := t.use(app, p, now)
		if ok {
			return p, sync.OnceFunc(func() { close(u.gone) })
		}
		if u == nil {
			return nil, nil
		}
		select {
		case <-u.gone:
		case <-ctx.Done():
			return nil, nil
		}
	}
}

// use books a use of p, whose ticket is good. When it is in use it returns that use and false; nil
// and false when the book is full.
func (t *Tickets) use(app *App, p *Pass, now int64) (u *use, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	used := t.used[app.ID]
	if used == nil {
		used = map[[nonceSize]byte]*use{}
		t.used[app.ID] = used
	}
	u = used[p.nonce]
	switch {
	case u != nil && u.open():
		return u, false
	case u == nil && len(used) >= maxUsed:
		for n, u := range used {
			if u.expires <= now {
				delete(used, n)
			}
		}
		if len(used) >= maxUsed {
			return nil, false // 65,536 tickets in 30 s: no more until some expire
		}
	}
	// A time to come is not that of a purchase: it must not keep a place in the book until then.
	u = &use{expires: min(p.Bought, now) + TicketLife.Milliseconds(), gone: make(chan struct{})}
	used[p.nonce] = u
	return u, true
}

// Renew returns what a renewal gives on app at now, nil when it gives nothing.
func (t *Tickets) Renew(app *App, renewal string, now int64) *Pass {
	p := open(app, renewal, kindRenewal)
	if p == nil || now >= p.Ends() || p.until > 0 && now >= p.until {
		return nil
	}
	return p
}

// open returns what a genuine ticket gives, whatever its age. Without a master key and a hook key
// tickets are signed with the app key, which can be taken out of any copy of the app: they give
// what that key gives.
func open(app *App, ticket string, kind byte) *Pass {
	if app == nil {
		return nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(ticket)
	if err != nil {
		return nil
	}
	if len(raw) == firstHead+ticketMAC {
		return passOfFirst(app, raw, kind)
	}
	if len(raw) < ticketHead+ticketMAC || len(raw) > ticketHead+namedHead+presence.MaxPeer+ticketMAC {
		return nil
	}
	head := raw[:len(raw)-ticketMAC]
	named := len(head) > ticketHead
	if named {
		kind += kindNamedTicket - kindTicket
	}
	if head[0] != kind || named && len(head) <= ticketHead+namedHead || !app.signedTicket(app.Secret(), head, raw[len(head):]) {
		return nil
	}
	p := &Pass{
		Bought: int64(binary.BigEndian.Uint64(head[2:])), Bound: head[1]&flagBound != 0,
		Detail: head[1]&flagDetail != 0 && app.Secret() != app.Key, Server: head[1]&flagServer != 0 && app.Secret() != app.Key,
	}
	if named && app.Secret() != app.Key {
		p.Issued = presence.Millis(binary.BigEndian.Uint64(head[ticketHead:]))
		p.Expires = presence.Millis(binary.BigEndian.Uint64(head[ticketHead+8:]))
		p.Peer = presence.PeerID(head[ticketHead+namedHead:])
	}
	copy(p.nonce[:], head[10:])
	copy(p.list[:], head[10+nonceSize:])
	return p
}

// signedTicket reports whether sign is that of head by secret, or by the old key beside
// [App.Secret].
func (a *App) signedTicket(secret string, head, sign []byte) bool {
	if hmac.Equal(signTicket(a, secret, head), sign) {
		return true
	}
	old, kind := a.oldSecret()
	if old == "" || !hmac.Equal(signTicket(a, old, head), sign) {
		return false
	}
	a.UsedOld(kind)
	return true
}

// firstHead is the length of a ticket of the first release without its signature: kind, rights,
// expiry, nonce.
const firstHead = 1 + 1 + 8 + nonceSize

// passOfFirst returns what a ticket or a renewal of the first release gives, so that a browser that
// has one survives an upgrade: the rights of the app key, for as long as it was good there. A
// stream of the first release signed its renewals again every minute and did not end: one that such
// a renewal opens here ends 24 h after that.
func passOfFirst(app *App, raw []byte, kind byte) *Pass {
	head := raw[:firstHead]
	life := map[byte]time.Duration{kindTicket: TicketLife, kindRenewal: 15 * time.Minute}[kind]
	if head[0] != kind-2 || !app.signedTicket(cmp.Or(app.MasterKey, app.Key), head, raw[firstHead:]) {
		return nil
	}
	until := int64(binary.BigEndian.Uint64(head[2:]))
	p := &Pass{Bought: until - life.Milliseconds(), until: until}
	copy(p.nonce[:], head[10:])
	return p
}
