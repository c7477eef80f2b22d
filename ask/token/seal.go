package token

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"sync/atomic"

	"rollcall/presence"
)

// A Sealer seals what clients keep for the server: tokens and cursors. A client can neither read
// nor make one. Every process that knows the secret of an app opens what any other sealed; what was
// sealed for one app opens for no other.
type Sealer struct {
	secret func(app presence.AppID) (secret, old string)

	mu  sync.RWMutex
	all map[presence.AppID]*Seal
}

// NewSealer returns a sealer by the secrets that secret returns; what the old one sealed opens too.
// When they change call [Sealer.Renew]. An app without a secret, and every app when secret is nil,
// gets a random one: what was sealed for it opens in this process only.
func NewSealer(secret func(app presence.AppID) (secret, old string)) *Sealer {
	if secret == nil {
		secret = func(presence.AppID) (string, string) { return "", "" }
	}
	return &Sealer{secret: secret, all: map[presence.AppID]*Seal{}}
}

// Of returns the seal of app.
func (ts *Sealer) Of(app presence.AppID) *Seal {
	ts.mu.RLock()
	s := ts.all[app]
	ts.mu.RUnlock()
	if s != nil {
		return s
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if s = ts.all[app]; s == nil {
		secret, old := ts.secret(app)
		s = newSeal(app, secret, old)
		ts.all[app] = s
	}
	return s
}

// Renew takes up the secrets that have changed.
func (ts *Sealer) Renew() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for app, s := range ts.all {
		if secret, old := ts.secret(app); secret != s.secret || old != s.old {
			delete(ts.all, app)
		}
	}
}

// SealCursor returns the text of a store's cursor for a client; "" stays "".
func (ts *Sealer) SealCursor(app presence.AppID, cursor string) string {
	s := ts.Of(app)
	return s.sealText(s.cursors, cursor)
}

// SealChanges and OpenChanges are SealCursor and OpenCursor for the cursors of the changes of an
// app. Neither kind opens as the other.
func (ts *Sealer) SealChanges(app presence.AppID, cursor string) string {
	s := ts.Of(app)
	return s.sealText(s.changes, cursor)
}

// OpenChanges returns the cursor that a reader brings.
func (ts *Sealer) OpenChanges(app presence.AppID, text string) (cursor string, ok bool) {
	s := ts.Of(app)
	return openText(text, s.changes, s.oldChanges)
}

func (s *Seal) sealText(aead cipher.AEAD, text string) string {
	if text == "" {
		return ""
	}
	room := scratches.Get().(*scratch)
	defer scratches.Put(room)
	room.plain = append(room.plain[:0], text...)
	return string(s.append(nil, aead, room))
}

// OpenCursor returns the store's cursor that a client brings; ok is false for text that
// [Sealer.SealCursor] did not make.
func (ts *Sealer) OpenCursor(app presence.AppID, text string) (cursor string, ok bool) {
	s := ts.Of(app)
	return openText(text, s.cursors, s.oldCursors)
}

func openText(text string, aead, old cipher.AEAD) (plain string, ok bool) {
	if text == "" {
		return "", true
	}
	if len(text) > maxSealed {
		return "", false
	}
	p, ok := open(text, aead, old)
	return string(p), ok
}

// maxSealed is the longest text that is looked at.
const maxSealed = 64 << 10

// A Seal encrypts and authenticates with AES-256-GCM for one app: tokens, cursors of lists and
// cursors of changes each under a key of their own, so that none opens as another. Its nonces are a
// random number of the process and a count, and never come twice.
type Seal struct {
	secret, old              string // as the app had them; "" is none
	tokens, cursors, changes cipher.AEAD
	// Open only; nil: there is no old secret.
	oldTokens, oldCursors, oldChanges cipher.AEAD
	mu                                sync.Mutex // for a new run of nonces
	run                               atomic.Pointer[nonces]
}

type nonces struct {
	prefix [8]byte
	used   atomic.Uint32
}

const (
	sealFormat = 2 // 1 was not sealed
	nonceSize  = 12
	tagSize    = 16
)

func newSeal(app presence.AppID, secret, old string) *Seal {
	s := &Seal{secret: secret, old: old}
	if secret == "" {
		secret = rand.Text()
	}
	s.tokens, s.cursors, s.changes = newAEAD(secret, "token", app), newAEAD(secret, "cursor", app), newAEAD(secret, "changes", app)
	if old != "" {
		s.oldTokens, s.oldCursors, s.oldChanges = newAEAD(old, "token", app), newAEAD(old, "cursor", app), newAEAD(old, "changes", app)
	}
	s.run.Store(newNonces())
	return s
}

// newAEAD returns what seals for one purpose in one app.
func newAEAD(secret, purpose string, app presence.AppID) cipher.AEAD {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte("rollcall " + purpose + "\x00" + string(app)))
	block, err := aes.NewCipher(m.Sum(nil))
	if err != nil {
		panic(err) // the key has 32 bytes
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // the block has 16 bytes
	}
	return aead
}

func newNonces() *nonces {
	n := &nonces{}
	_, _ = rand.Read(n.prefix[:])
	return n
}

// nonce fills in the next nonce.
func (s *Seal) nonce(b []byte) {
	for {
		run := s.run.Load()
		if n := run.used.Add(1); n < 1<<31 {
			copy(b, run.prefix[:])
			binary.BigEndian.PutUint32(b[8:], n)
			return
		}
		s.mu.Lock()
		if s.run.Load() == run {
			s.run.Store(newNonces())
		}
		s.mu.Unlock()
	}
}

// append appends the text of what is plain in room, sealed with aead, to b. It uses the rest of
// room.
func (s *Seal) append(b []byte, aead cipher.AEAD, room *scratch) []byte {
	raw := append(room.raw[:0], sealFormat)
	raw = raw[:1+nonceSize]
	s.nonce(raw[1:])
	room.raw = aead.Seal(raw, raw[1:], room.plain, nil)
	return base64.RawURLEncoding.AppendEncode(b, room.raw)
}

// A scratch is room for one seal: what is handed to a cipher would else be garbage.
type scratch struct{ plain, raw []byte }

var scratches = sync.Pool{New: func() any { return &scratch{raw: make([]byte, 0, 128)} }}

// open returns what text was sealed from with aead, or with old, which may be nil.
func open(text string, aead, old cipher.AEAD) (plain []byte, ok bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) < 1+nonceSize+tagSize || raw[0] != sealFormat {
		return nil, false
	}
	for _, a := range [...]cipher.AEAD{aead, old} {
		if a == nil {
			continue
		}
		if plain, err = a.Open(nil, raw[1:1+nonceSize], raw[1+nonceSize:], nil); err == nil {
			return plain, true
		}
	}
	return nil, false
}
