package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The headers of a signed report.
const (
	TimeHeader      = "X-Rollcall-Time"
	SignatureHeader = "X-Rollcall-Signature"
)

// SignatureWindow is how far a signature's time may be from ours.
const SignatureWindow = 300 * time.Second

// EventsPath is the one call that takes a signature of the first version, which names no call.
const EventsPath = "/v1/events"

// Sign returns the second version of the signature of a call: time, method, path with query, and
// body, with a line feed between them.
func Sign(key, stamp, method, target string, body []byte) []byte {
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(stamp + "\n" + method + "\n" + target + "\n"))
	m.Write(body)
	return m.Sum(nil)
}

// signV1 is the first version: time, a dot, and body.
func signV1(key, stamp string, body []byte) []byte {
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(stamp + "."))
	m.Write(body)
	return m.Sum(nil)
}

// CheckSignature lets a signed caller through when one of its signatures is right for the call and
// its body: "v2=<hex>" as [Sign] makes it, once within the window; on [EventsPath] "v1=<hex>" too.
// Several are parted by commas.
func (g *Gate) CheckSignature(r *http.Request, c *Caller, body []byte) error {
	if !c.Signed {
		return nil
	}
	stamp := r.Header.Get(TimeHeader)
	right, older, v2 := g.signedBy(r, c.App.HookKey, stamp, body)
	if !right && c.App.Old.HookKey != "" {
		var old bool
		if right, old, v2 = g.signedBy(r, c.App.Old.HookKey, stamp, body); right {
			c.App.UsedOld(OldHookKey)
		}
		older = older || old
	}
	if !right {
		c.Rights = None
		err := g.permit(c, NeedReporter)
		if e, ok := err.(*Error); ok && older && e.Code == "unauthorized" {
			e.Text = "a v1 signature is good for " + EventsPath + " only; sign time, method, path and body as v2"
		}
		return err
	}
	whole, _, _ := strings.Cut(stamp, ".") // a fraction makes equal calls of one second differ
	sec, err := strconv.ParseInt(whole, 10, 64)
	now := g.deps.Now() / 1000
	const window = int64(SignatureWindow / time.Second)
	if away := now - sec; err != nil || away > window || -away > window {
		return Errorf("signature_expired", "the signature's time is more than %d s away from the server's", window)
	}
	if v2 == nil {
		return nil
	}
	switch g.replays.take(string(c.App.ID), v2, sec, now) {
	case replayed:
		return Errorf("signature_replayed", "this signature was used before; sign every call anew, with a fraction in the time when they are equal")
	case bookFull:
		return Errorf("full", "as many signatures are remembered as may be; show the hook key in a header").WithRetry(SignatureWindow)
	}
	return nil
}

// signedBy reports whether a signature of r is right by key, and its second version when that is
// one. older: it is of the first version, which this call does not take.
func (g *Gate) signedBy(r *http.Request, key, stamp string, body []byte) (right, older bool, named []byte) {
	v2 := Sign(key, stamp, r.Method, r.URL.RequestURI(), body)
	v1 := signV1(key, stamp, body)
	for s := range strings.SplitSeq(strings.Join(r.Header.Values(SignatureHeader), ","), ",") {
		version, text, _ := strings.Cut(strings.TrimSpace(s), "=")
		got, err := hex.DecodeString(text)
		switch {
		case err != nil:
		case version == "v2" && hmac.Equal(got, v2):
			right, named = true, v2
		case version == "v1" && hmac.Equal(got, v1):
			right = right || r.URL.Path == EventsPath
			older = r.URL.Path != EventsPath
		}
	}
	return right, older, named
}

// replays remembers the signatures that were used while they could be used again. Only right ones
// get there.
type replays struct {
	mu sync.Mutex
	// By app and by the window that their time lies in.
	apps map[string]map[int64]map[uint64]struct{}
}

type used uint8

const (
	fresh used = iota
	replayed
	bookFull
)

// maxSignatures is how many signatures of one app are remembered, at some 20 bytes each.
const maxSignatures = 1 << 20

// take notes a signature of app with its time and reports whether it was there.
func (p *replays) take(app string, signature []byte, sec, now int64) used {
	const window = int64(SignatureWindow / time.Second)
	key := binary.BigEndian.Uint64(signature) // as good as random: it was made with the key
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.apps == nil {
		p.apps = map[string]map[int64]map[uint64]struct{}{}
	}
	windows := p.apps[app]
	if windows == nil {
		windows = map[int64]map[uint64]struct{}{}
		p.apps[app] = windows
	}
	count := 0
	for at, set := range windows {
		if (at+1)*window+window < now {
			delete(windows, at) // the last of them has expired
			continue
		}
		count += len(set)
	}
	set := windows[sec/window]
	if _, twice := set[key]; twice {
		return replayed
	}
	if count >= maxSignatures {
		return bookFull
	}
	if set == nil {
		set = map[uint64]struct{}{}
		windows[sec/window] = set
	}
	set[key] = struct{}{}
	return fresh
}
