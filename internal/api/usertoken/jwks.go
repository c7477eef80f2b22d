package usertoken

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	fetchTime  = 5 * time.Second  // of one fetch
	fetchSize  = 256 << 10        // bytes of an answer
	refreshAge = time.Hour        // after which keys are fetched again
	refreshGap = 5 * time.Minute  // between two fetches, whatever is asked for
	firstGap   = 10 * time.Second // the same while there are no keys at all
	staleFor   = 24 * time.Hour   // for how long keys stay good while fetches fail
)

// A remote is the keys of one URL for one algorithm.
type remote struct {
	url, algorithm string

	mu      sync.Mutex
	byID    map[string]crypto.PublicKey // nil: none yet, or too old
	fetched int64                       // when the keys were fetched, in ms
	tried   int64                       // when the last fetch began; 0 is never
	running chan struct{}               // closed when the fetch under way ends; nil: none is
}

// find returns the key called id. When it is unknown it may have the keys fetched and wait for
// that.
func (r *remote) find(ctx context.Context, v *Verifier, id string) (crypto.PublicKey, error) {
	key, known, wait := r.look(v, id)
	if key != nil {
		return key, nil
	}
	if wait != nil {
		ctx, cancel := context.WithTimeout(ctx, fetchTime)
		defer cancel()
		select {
		case <-wait:
			key, known, _ = r.look(v, id)
		case <-ctx.Done():
		}
	}
	switch {
	case key != nil:
		return key, nil
	case known:
		return nil, fmt.Errorf("%w: no key %.80q", ErrInvalid, id)
	}
	return nil, ErrKeys
}

// look returns the key called id; known says whether there are keys at all. It begins a fetch when
// one is due; wait is closed at the end of one that may bring the key.
func (r *remote) look(v *Verifier, id string) (key crypto.PublicKey, known bool, wait <-chan struct{}) {
	now := v.deps.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID != nil && now-r.fetched > staleFor.Milliseconds() {
		r.byID = nil
	}
	key, ok := r.byID[id]
	if id == "" && len(r.byID) == 1 { // an issuer with one key may leave its name out
		for _, only := range r.byID {
			key, ok = only, true
		}
	}
	gap := firstGap
	if r.byID != nil {
		gap = refreshGap
	}
	due := r.running == nil && (r.tried == 0 || now-r.tried >= gap.Milliseconds() || now < r.tried)
	if due && (!ok || now-r.fetched > refreshAge.Milliseconds()) {
		r.tried, r.running = now, make(chan struct{})
		v.fetches.Go(func() { r.fetch(v) })
	}
	if ok {
		return key, true, nil
	}
	return nil, r.byID != nil, r.running
}

// fetch takes the keys at the URL. When that fails those of before stay.
func (r *remote) fetch(v *Verifier) {
	ctx, cancel := context.WithTimeout(v.ctx, fetchTime)
	defer cancel()
	keys, err := r.get(ctx, v.client)
	r.mu.Lock()
	if err == nil {
		r.byID, r.fetched = keys, v.deps.Now()
	}
	close(r.running)
	r.running = nil
	left := len(r.byID)
	r.mu.Unlock()
	if err != nil && v.ctx.Err() == nil {
		v.deps.Log.Warn("fetching token keys failed", "url", redacted(r.url), "keys_kept", left, "err", err)
	}
}

// redacted returns address without a password and a query.
func redacted(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	u.RawQuery = ""
	return u.Redacted()
}

func (r *remote) get(ctx context.Context, client *http.Client) (map[string]crypto.PublicKey, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	res, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) { // its text holds the address with its query
			err = u.Err
		}
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s, not 200", res.Status)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, fetchSize+1))
	if err != nil {
		return nil, err
	}
	if len(body) > fetchSize {
		return nil, fmt.Errorf("the answer has more than %d bytes", fetchSize)
	}
	return parseSet(body, r.algorithm)
}

// A jwk is one entry of a JSON Web Key Set.
type jwk struct {
	ID        string `json:"kid"`
	Type      string `json:"kty"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	Curve     string `json:"crv"`
	N, E      string
	X, Y      string
}

// parseSet returns the keys of a set that are good for algorithm, by their ids. What is of another
// kind is left out.
func parseSet(body []byte, algorithm string) (map[string]crypto.PublicKey, error) {
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("not a JSON Web Key Set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the set has %d keys, more than %d", len(set.Keys), maxKeys)
	}
	keys := map[string]crypto.PublicKey{}
	for i := range set.Keys {
		k := &set.Keys[i]
		if k.Use != "" && k.Use != "sig" || k.Algorithm != "" && k.Algorithm != algorithm {
			continue
		}
		key := k.key()
		if key == nil {
			continue
		}
		if is, err := algorithmOf(key); err != nil || is != algorithm {
			continue
		}
		if _, twice := keys[k.ID]; twice {
			return nil, fmt.Errorf("the set has two %s keys with the kid %.80q", algorithm, k.ID)
		}
		keys[k.ID] = key
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("the set has no key for %s", algorithm)
	}
	return keys, nil
}

// key returns the public key that k holds; nil for one of an unknown kind or a broken one.
func (k *jwk) key() crypto.PublicKey {
	part := func(text string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			return nil
		}
		return b
	}
	switch {
	case k.Type == "RSA":
		e := new(big.Int).SetBytes(part(k.E))
		if !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 || e.Bit(0) == 0 {
			return nil
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(part(k.N)), E: int(e.Int64())}
	case k.Type == "EC" && k.Curve == "P-256":
		const size = 32
		x, y := part(k.X), part(k.Y)
		if len(x) != size || len(y) != size {
			return nil
		}
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
		if err != nil {
			return nil
		}
		return key
	case k.Type == "OKP" && k.Curve == "Ed25519":
		if x := part(k.X); len(x) == ed25519.PublicKeySize {
			return ed25519.PublicKey(x)
		}
	}
	return nil
}
