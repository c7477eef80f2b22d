package native

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"

	"rollcall/internal/credentials"
)

// Tickets let a browser open a stream without a key in its address: an EventSource sets no headers, and addresses end up in
// logs. A ticket is bought with the key by a POST, is good for 30 s and, on each node, once. The stream it opens
// carries renewals in its event ids, which the browser sends back in a header when it connects again.
//
// A ticket is signed with a secret of its app, so any node that knows the app can check it.
type Tickets struct {
	mu   sync.Mutex
	used map[string]map[[nonceSize]byte]int64 // by app id: nonce → expiry in ms
}

// How long the two kinds are good.
const (
	TicketLife  = 30 * time.Second
	RenewalLife = 15 * time.Minute
)

const (
	kindTicket, kindRenewal = 1, 2

	nonceSize  = 12
	ticketHead = 1 + 1 + 8 + nonceSize // kind, rights, expiry, nonce
	ticketMAC  = 16
	maxUsed    = 1 << 16 // of one app: what one has spent takes nothing from another
)

// NewTickets returns an empty book of used tickets.
func NewTickets() *Tickets { return &Tickets{used: map[string]map[[nonceSize]byte]int64{}} }

func signTicket(app *credentials.App, head []byte) []byte {
	secret := app.MasterKey
	if secret == "" {
		secret = app.Key // inside every copy of the app, so such a ticket has the rights of a client at most; see rightsIn
	}
	m := hmac.New(sha256.New, []byte("rollcall ticket "+secret))
	m.Write([]byte(app.ID))
	m.Write([]byte{0})
	m.Write(head)
	return m.Sum(nil)[:ticketMAC]
}

func sell(app *credentials.App, kind byte, rights credentials.Rights, expires int64) string {
	head := make([]byte, ticketHead, ticketHead+ticketMAC)
	head[0], head[1] = kind, byte(rights)
	binary.BigEndian.PutUint64(head[2:], uint64(expires))
	_, _ = rand.Read(head[10:])
	return base64.RawURLEncoding.EncodeToString(append(head, signTicket(app, head)...))
}

// Sell returns a ticket with rights on app, and when it expires.
func (t *Tickets) Sell(app *credentials.App, rights credentials.Rights, now int64) (ticket string, expires int64) {
	expires = now + TicketLife.Milliseconds()
	return sell(app, kindTicket, rights, expires), expires
}

// Renewal returns what takes the place of a ticket when its stream breaks.
func (t *Tickets) Renewal(app *credentials.App, rights credentials.Rights, now int64) string {
	return sell(app, kindRenewal, rights, now+RenewalLife.Milliseconds())
}

// Redeem returns the rights that ticket gives on app now, None when it gives none. A ticket is used up by it.
func (t *Tickets) Redeem(app *credentials.App, ticket string, now int64) credentials.Rights {
	head, ok := t.check(app, ticket, kindTicket, now)
	if !ok {
		return credentials.None
	}
	nonce := [nonceSize]byte(head[10:])
	t.mu.Lock()
	defer t.mu.Unlock()
	used := t.used[app.ID]
	if used == nil {
		used = map[[nonceSize]byte]int64{}
		t.used[app.ID] = used
	}
	if _, twice := used[nonce]; twice {
		return credentials.None
	}
	if len(used) >= maxUsed {
		for n, expires := range used {
			if expires < now {
				delete(used, n)
			}
		}
		if len(used) >= maxUsed {
			return credentials.None // 65,536 tickets in 30 s: no more until some expire
		}
	}
	used[nonce] = int64(binary.BigEndian.Uint64(head[2:]))
	return rightsIn(app, head)
}

// Renew returns the rights that a renewal gives on app now.
func (t *Tickets) Renew(app *credentials.App, renewal string, now int64) credentials.Rights {
	head, ok := t.check(app, renewal, kindRenewal, now)
	if !ok {
		return credentials.None
	}
	return rightsIn(app, head)
}

// rightsIn returns the rights that the head of a genuine ticket gives on app. Without a master key tickets are signed with the app key,
// which anybody can take out of a copy of the app: they give what that key gives.
func rightsIn(app *credentials.App, head []byte) credentials.Rights {
	rights := credentials.Rights(head[1])
	if app.MasterKey == "" {
		rights &= credentials.Client
	}
	return rights
}

func (t *Tickets) check(app *credentials.App, ticket string, kind byte, now int64) (head []byte, ok bool) {
	if app == nil || len(ticket) != base64.RawURLEncoding.EncodedLen(ticketHead+ticketMAC) {
		return nil, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(ticket)
	if err != nil {
		return nil, false
	}
	head = raw[:ticketHead]
	if !hmac.Equal(signTicket(app, head), raw[ticketHead:]) || head[0] != kind {
		return nil, false
	}
	return head, now < int64(binary.BigEndian.Uint64(head[2:]))
}
