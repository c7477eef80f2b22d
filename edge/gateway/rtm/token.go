package rtm

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"rollcall/internal/api"
	"rollcall/presence"
)

// A token stands for a login that was accepted. It is self-contained, so any node and any later run
// of this one takes it: format, times, session id, peer and app, and a MAC over them.
type token struct {
	app      string
	peer     presence.PeerID
	session  presence.SessionID // says tag and device
	issued   presence.Millis
	expires  presence.Millis
	platform string
	// The login proved its peer, by a signature or by a user token.
	proven bool
	// When the user token ends that the login was by; 0: it was by none. No token made with this
	// one lives longer.
	bound presence.Millis
}

// errToken: a session token that is none of ours, of another peer, or too old.
var errToken = errors.New("session token expired or unknown")

const (
	tokenFormat  = 1
	provenFormat = 2 // of logins that proved their peer
	macSize      = 16
	maxToken     = 2048
)

// tokenKey derives the key that signs the session tokens of an app from its master key, so that no
// other secret has to be kept and shared. An app without a master key has the key of this run.
func (s *Server) tokenKey(masterKey string) []byte {
	secret := []byte(masterKey)
	if masterKey == "" {
		secret = s.random[:]
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("rollcall session token"))
	return mac.Sum(nil)
}

// seal writes t as text, signed with key.
func (t *token) seal(key []byte) string {
	b := []byte{tokenFormat}
	b = binary.AppendVarint(b, int64(t.issued))
	b = binary.AppendVarint(b, int64(t.expires))
	if t.proven {
		b[0] = provenFormat
		b = binary.AppendVarint(b, int64(t.bound))
	}
	for _, s := range []string{t.app, string(t.peer), string(t.session), t.platform} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(b)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(b)[:len(b)+macSize])
}

// open reads a token of app and peer that is good at now, sealed with the master key or the old
// one.
func (s *Server) open(text string, app *api.App, peer presence.PeerID, now presence.Millis) (token, error) {
	t, err := openToken(text, s.tokenKey(app.MasterKey), string(app.ID), peer, now)
	if err == nil || app.Old.MasterKey == "" {
		return t, err
	}
	if t, err = openToken(text, s.tokenKey(app.Old.MasterKey), string(app.ID), peer, now); err == nil {
		app.UsedOld(api.OldMasterKey)
	}
	return t, err
}

// openToken reads a token of app and peer that is good at now.
func openToken(text string, key []byte, app string, peer presence.PeerID, now presence.Millis) (token, error) {
	if len(text) > maxToken {
		return token{}, fmt.Errorf("%w: too long", errToken)
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) <= macSize {
		return token{}, fmt.Errorf("%w: not a token", errToken)
	}
	body := b[:len(b)-macSize]
	mac := hmac.New(sha256.New, key)
	mac.Write(body)
	if !hmac.Equal(mac.Sum(nil)[:macSize], b[len(body):]) {
		return token{}, fmt.Errorf("%w: the seal is broken", errToken)
	}
	t, err := parseToken(body)
	if err != nil {
		return token{}, err
	}
	if t.app != app || t.peer != peer || now >= t.expires {
		return token{}, fmt.Errorf("%w: another's, or too old", errToken)
	}
	return t, nil
}

// parseToken reads what a good seal covers.
func parseToken(b []byte) (t token, err error) {
	times := []*presence.Millis{&t.issued, &t.expires}
	switch b[0] {
	case tokenFormat:
	case provenFormat:
		t.proven = true
		times = append(times, &t.bound)
	default:
		return t, fmt.Errorf("%w: format %d", errToken, b[0])
	}
	b = b[1:]
	for _, m := range times {
		v, n := binary.Varint(b)
		if n <= 0 {
			return t, fmt.Errorf("%w: cut short", errToken)
		}
		*m, b = presence.Millis(v), b[n:]
	}
	var peer, session string
	for _, s := range []*string{&t.app, &peer, &session, &t.platform} {
		l, n := binary.Uvarint(b)
		if n <= 0 || l > uint64(len(b)-n) {
			return t, fmt.Errorf("%w: cut short", errToken)
		}
		*s, b = string(b[n:n+int(l)]), b[n+int(l):]
	}
	t.peer, t.session = presence.PeerID(peer), presence.SessionID(session)
	return t, nil
}

// newToken returns t sealed with the master key of app, good from now on, and for how many seconds.
func (s *Server) newToken(app *api.App, t token, now presence.Millis) (string, int32) {
	life := s.cfg.TokenLife
	if t.bound > 0 {
		life = max(min(life, t.bound.Sub(now)), time.Second)
	}
	t.app, t.issued, t.expires = string(app.ID), now, now.Add(life)
	return t.seal(s.tokenKey(app.MasterKey)), int32(life / time.Second)
}
