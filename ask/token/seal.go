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

// A Sealer seals what clients keep for the server: tokens and cursors. A client can neither read nor
// make one. Every process that knows the secret of an app opens what any other sealed; what was
// sealed for one app opens for no other.
type Sealer struct {
	secret func(app presence.AppID) string

	mu  sync.RWMutex
	all map[presence.AppID]*Seal
}

// NewSealer returns a sealer by the secrets that secret returns, which must not change. An app without
// one, and every app when secret is nil, gets a random one: what was sealed for it opens in this
// process only.
func NewSealer(secret func(app presence.AppID) string) *Sealer {
	if secret == nil {
		secret = func(presence.AppID) string { return "" }
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
		s = newSeal(app, ts.secret(app))
		ts.all[app] = s
	}
	return s
}

// SealCursor returns the text of a store's cursor for a client; "" stays "".
func (ts *Sealer) SealCursor(app presence.AppID, cursor string) string {
	if cursor == "" {
		return ""
	}
	room := scratches.Get().(*scratch)
	defer scratches.Put(room)
	room.plain = append(room.plain[:0], cursor...)
	s := ts.Of(app)
	return string(s.append(nil, s.cursors, room))
}

// OpenCursor returns the store's cursor that a client brings; ok is false for text that [Sealer.SealCursor] did not make.
func (ts *Sealer) OpenCursor(app presence.AppID, text string) (cursor string, ok bool) {
	if text == "" {
		return "", true
	}
	if len(text) > maxSealed {
		return "", false
	}
	p, ok := open(ts.Of(app).cursors, text)
	return string(p), ok
}

// maxSealed is the longest text that is looked at.
const maxSealed = 64 << 10

// A Seal encrypts and authenticates with AES-256-GCM for one app: tokens under one key, cursors under
// another, so that neither opens as the other. Its nonces are a random number of the process and a
// count, and never come twice.
type Seal struct {
	tokens, cursors cipher.AEAD
	mu              sync.Mutex // for a new run of nonces
	run             atomic.Pointer[nonces]
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

func newSeal(app presence.AppID, secret string) *Seal {
	if secret == "" {
		secret = rand.Text()
	}
	s := &Seal{tokens: newAEAD(secret, "token", app), cursors: newAEAD(secret, "cursor", app)}
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

// append appends the text of what is plain in room, sealed with aead, to b. It uses the rest of room.
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

// open returns what text was sealed from with aead.
func open(aead cipher.AEAD, text string) (plain []byte, ok bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) < 1+nonceSize+tagSize || raw[0] != sealFormat {
		return nil, false
	}
	plain, err = aead.Open(nil, raw[1:1+nonceSize], raw[1+nonceSize:], nil)
	return plain, err == nil
}
