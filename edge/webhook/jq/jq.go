// Package jq reads any JSON by a program in jq, which a source has as its map: the program is given
// the body of a call and makes the events of it, in the JSON of POST /v1/events.
//
// A kind of its own, beside generic: generic is our format with our signature, and has nothing to
// set.
package jq

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"strings"
	"time"

	"rollcall/edge/webhook"
	"rollcall/presence"
)

// Kind reads the calls of one source, once it is made by [Kind.Make].
type Kind struct {
	program *program
	sign    webhook.Sign
}

// Name returns "jq".
func (Kind) Name() string { return "jq" }

// Defaults returns a lease of a day. A signature covers the body, a secret that is shown does not.
func (k Kind) Defaults() webhook.Defaults {
	signed := k.sign.Header != ""
	return webhook.Defaults{Lease: 24 * time.Hour, Hold: 10 * time.Second, Open: !signed, ProofInBody: signed, Many: true}
}

// hashes are those that a signature may be made with.
var hashes = map[string]func() hash.Hash{"sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New}

// Check compiles the map.
func (k Kind) Check(s *webhook.Source) error {
	_, err := k.Make(s)
	return err
}

// Make returns the kind that runs the map of s.
func (Kind) Make(s *webhook.Source) (webhook.Kind, error) {
	if strings.TrimSpace(s.Map) == "" {
		return nil, errors.New("map is missing; of jq it is a program that makes events of a call")
	}
	if s.Sign.Header == "" && s.Sign.Prefix != "" {
		return nil, errors.New("sign.prefix is set and sign.header is not")
	}
	if strings.ContainsFunc(s.Sign.Header, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
		return nil, fmt.Errorf("sign.header is %.40q, which is no name of a header", s.Sign.Header)
	}
	if hashes[s.Sign.Hash] == nil && s.Sign.Hash != "" {
		return nil, fmt.Errorf("sign.hash is %.40q; it is sha1, sha256 or sha512", s.Sign.Hash)
	}
	p, err := compile(s.Map)
	if err != nil {
		return nil, fmt.Errorf("map is no program of jq: %w", err)
	}
	return Kind{p, s.Sign}, nil
}

// Verify checks the signature of the body where sign names a header, in hexadecimal or base64; else
// it wants the secret as a bearer token or as the password of basic authentication.
func (k Kind) Verify(c *webhook.Call) error {
	if k.sign.Header == "" {
		r := http.Request{Header: c.Header}
		if _, password, ok := r.BasicAuth(); ok {
			return c.Shown(password)
		}
		return c.Bearer()
	}
	got, ok := strings.CutPrefix(c.Header.Get(k.sign.Header), k.sign.Prefix)
	if !ok {
		return webhook.ErrUnproven
	}
	if b, err := base64.StdEncoding.DecodeString(got); err == nil && len(b) == k.hash()().Size() {
		got = hex.EncodeToString(b)
	}
	return c.Hex(got, func(secret string) []byte { return k.sum(secret, c.Body) })
}

func (k Kind) hash() func() hash.Hash {
	if h := hashes[k.sign.Hash]; h != nil {
		return h
	}
	return sha256.New
}

func (k Kind) sum(secret string, body []byte) []byte {
	h := hmac.New(k.hash(), []byte(secret))
	h.Write(body)
	return h.Sum(nil)
}

// Sign sets the header of the signature, or shows the secret as a bearer token.
func (k Kind) Sign(r *webhook.Request, s *webhook.Source, _ presence.Millis) error {
	if k.sign.Header == "" {
		r.Bearer(s.Secret)
		return nil
	}
	r.Header.Set(k.sign.Header, k.sign.Prefix+hex.EncodeToString(k.sum(s.Secret, r.Body)))
	return nil
}

// Read runs the map.
func (k Kind) Read(c *webhook.Call, b *webhook.Batch) error {
	if k.program == nil {
		return webhook.Shape("the source has no map")
	}
	return k.program.run(c, b)
}

// Reply answers with a status; where an event could not be used, with what is wrong with it, as
// /v1/events does.
func (Kind) Reply(_ *webhook.Call, o webhook.Outcome) webhook.Reply {
	if o.Err != nil || o.Tally.Ignored == 0 {
		return webhook.PlainReply(o)
	}
	return webhook.JSONReply(o.Tally)
}
