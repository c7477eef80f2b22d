package usertoken_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"rollcall/internal/api/usertoken"
	"rollcall/presence"
)

const (
	app    = presence.AppID("shop")
	secret = "a secret of thirty-two bytes or more"
	start  = int64(1_800_000_000_000)
	life   = 24 * time.Hour
)

// A world is a verifier with a clock and kicks that a test may set.
type world struct {
	*usertoken.Verifier
	now    atomic.Int64
	kicked atomic.Int64 // of every peer
	broken atomic.Bool  // the kicks cannot be read
	asked  atomic.Int64 // for kicks
}

func open(t testing.TB, change ...func(*usertoken.Deps)) *world {
	w := &world{}
	w.now.Store(start)
	deps := usertoken.Deps{
		Life: life, Now: w.now.Load, Log: slog.New(slog.DiscardHandler),
		Kicked: func(context.Context, presence.Key) (presence.Millis, error) {
			w.asked.Add(1)
			if w.broken.Load() {
				return 0, presence.ErrUnavailable
			}
			return presence.Millis(w.kicked.Load()), nil
		},
	}
	for _, f := range change {
		f(&deps)
	}
	w.Verifier = usertoken.New(deps)
	t.Cleanup(w.Close)
	return w
}

// claims are good ones, with what a case changes; nil leaves a claim out.
func claims(change map[string]any) map[string]any {
	c := map[string]any{"sub": "tom", "iat": start / 1000, "exp": start/1000 + 3600}
	for name, v := range change {
		if c[name] = v; v == nil {
			delete(c, name)
		}
	}
	return c
}

func part(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// hs256 makes a token without the library.
func hs256(t testing.TB, key string, head, body any) string {
	t.Helper()
	text := part(t, head) + "." + part(t, body)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

var plain = map[string]any{"alg": "HS256", "typ": "JWT"}

func sign(t testing.TB, method jwt.SigningMethod, key any, id string, body map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, jwt.MapClaims(body))
	if id != "" {
		token.Header["kid"] = id
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func pemOf(t testing.TB, keys ...crypto.PublicKey) string {
	t.Helper()
	var text strings.Builder
	for _, k := range keys {
		der, err := x509.MarshalPKIXPublicKey(k)
		if err != nil {
			t.Fatal(err)
		}
		_ = pem.Encode(&text, &pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	return text.String()
}

type pairs struct {
	rsa   *rsa.PrivateKey
	ecdsa *ecdsa.PrivateKey
	ed    ed25519.PrivateKey
}

var keyPairs = sync.OnceValue(func() (p pairs) {
	p.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	p.ecdsa, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, p.ed, _ = ed25519.GenerateKey(rand.Reader)
	return p
})

// expect verifies text and holds the result to an error, nil for none.
func (w *world) expect(t *testing.T, keys *usertoken.Keys, text string, want error) usertoken.Token {
	t.Helper()
	token, err := w.Verify(t.Context(), app, keys, text)
	if !errors.Is(err, want) || want == nil && err != nil {
		t.Errorf("got %v, want %v", err, want)
	}
	if err != nil && token != (usertoken.Token{}) {
		t.Errorf("a token that is refused still says %+v", token)
	}
	return token
}

func TestClaims(t *testing.T) {
	now := start / 1000
	for _, tt := range []struct {
		name   string
		change map[string]any
		want   error
	}{
		{"good", nil, nil},
		{"for this app", map[string]any{"aud": "shop"}, nil},
		{"for this app among others", map[string]any{"aud": []string{"x", "shop"}}, nil},
		{"for another app", map[string]any{"aud": "other"}, usertoken.ErrInvalid},
		{"for nobody", map[string]any{"aud": []string{""}}, usertoken.ErrInvalid},
		{"without exp", map[string]any{"exp": nil}, usertoken.ErrInvalid},
		{"exp 0", map[string]any{"exp": 0}, usertoken.ErrEnded},
		{"nbf null", map[string]any{"nbf": json.RawMessage("null")}, nil},
		{"exp null", map[string]any{"exp": json.RawMessage("null")}, usertoken.ErrInvalid},
		{"expired within the skew", map[string]any{"exp": now - 59}, nil},
		{"expired beyond the skew", map[string]any{"exp": now - 61}, usertoken.ErrEnded},
		{"as long as may be", map[string]any{"exp": now + 86400 + 60}, nil},
		{"too long", map[string]any{"exp": now + 86400 + 61}, usertoken.ErrInvalid},
		{"exp beyond all clocks", map[string]any{"exp": int64(9_300_000_000_000_000)}, usertoken.ErrInvalid},
		{"exp beyond all numbers", map[string]any{"exp": 1e300}, usertoken.ErrInvalid},
		{"exp before all clocks", map[string]any{"exp": -1}, usertoken.ErrInvalid},
		{"exp in parts of a second", map[string]any{"exp": float64(now) + 0.5}, nil},
		{"exp as text", map[string]any{"exp": "tomorrow"}, usertoken.ErrInvalid},
		{"not yet, within the skew", map[string]any{"nbf": now + 59}, nil},
		{"not yet", map[string]any{"nbf": now + 61}, usertoken.ErrInvalid},
		{"made ahead, within the skew", map[string]any{"iat": now + 59}, nil},
		{"made ahead", map[string]any{"iat": now + 61}, usertoken.ErrInvalid},
		{"without iat", map[string]any{"iat": nil}, nil},
		{"without sub", map[string]any{"sub": nil}, usertoken.ErrInvalid},
		{"empty sub", map[string]any{"sub": ""}, usertoken.ErrInvalid},
		{"sub is a number", map[string]any{"sub": 7}, usertoken.ErrInvalid},
		{"sub with a control character", map[string]any{"sub": "to\x01m"}, usertoken.ErrInvalid},
		{"long sub", map[string]any{"sub": strings.Repeat("x", presence.MaxPeer+1)}, usertoken.ErrInvalid},
		{"exp in other letters", map[string]any{"exp": now - 61, "EXP": now + 3600}, usertoken.ErrEnded},
		{"exp in other letters alone", map[string]any{"exp": nil, "Exp": now + 3600}, usertoken.ErrInvalid},
		{"sub in other letters", map[string]any{"suB": "ann", "SUB": 7}, nil},
		{"aud in other letters", map[string]any{"aud": "other", "Aud": "shop"}, usertoken.ErrInvalid},
		{"other letters beside a nested claim", map[string]any{"exp": now - 61, "eXP": now + 3600, "x": map[string]any{"exp": 1}}, usertoken.ErrEnded},
		{"more than is understood", map[string]any{"rollcall": map[string]any{"present": false}}, usertoken.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := open(t)
			text := hs256(t, secret, plain, claims(tt.change))
			for range 2 { // the second is remembered
				token := w.expect(t, &usertoken.Keys{Secret: secret}, text, tt.want)
				if tt.want == nil && token.Peer != "tom" {
					t.Errorf("the peer is %q", token.Peer)
				}
			}
		})
	}
}

// What proves a token is fixed by the settings of the app.
func TestForgeries(t *testing.T) {
	k := keyPairs()
	public, err := usertoken.ParsePEM(pemOf(t, &k.rsa.PublicKey, &k.ecdsa.PublicKey, k.ed.Public()))
	if err != nil {
		t.Fatal(err)
	}
	w := open(t)
	byKey, bySecret := &usertoken.Keys{Public: public}, &usertoken.Keys{Secret: secret}
	none := part(t, map[string]any{"alg": "none"}) + "." + part(t, claims(nil)) + "."
	text := pemOf(t, &k.rsa.PublicKey)
	der, _ := x509.MarshalPKIXPublicKey(&k.rsa.PublicKey)
	foreign, _ := rsa.GenerateKey(rand.Reader, 2048)
	good := hs256(t, secret, plain, claims(nil))
	for _, tt := range []struct {
		name, text string
		keys       *usertoken.Keys
		want       error
	}{
		{"none", none, bySecret, usertoken.ErrInvalid},
		{"none in capitals", strings.Replace(none, part(t, map[string]any{"alg": "none"}), part(t, map[string]any{"alg": "nOnE"}), 1), bySecret, usertoken.ErrInvalid},
		{"without a signature", good[:strings.LastIndex(good, ".")+1], bySecret, usertoken.ErrInvalid},
		{"no alg", hs256(t, secret, map[string]any{}, claims(nil)), bySecret, usertoken.ErrInvalid},
		{"HS512", sign(t, jwt.SigningMethodHS512, []byte(secret), "", claims(nil)), bySecret, usertoken.ErrInvalid},
		{"the PEM of the public key as a secret", hs256(t, text, plain, claims(nil)), byKey, usertoken.ErrInvalid},
		{"its bytes as a secret", hs256(t, string(der), plain, claims(nil)), byKey, usertoken.ErrInvalid},
		{"an empty secret", hs256(t, "", plain, claims(nil)), byKey, usertoken.ErrInvalid},
		{"RS256 where there is a secret only", sign(t, jwt.SigningMethodRS256, k.rsa, "", claims(nil)), bySecret, usertoken.ErrInvalid},
		{"RS384 by the right key", sign(t, jwt.SigningMethodRS384, k.rsa, "", claims(nil)), byKey, usertoken.ErrInvalid},
		{"PS256 by the right key", sign(t, jwt.SigningMethodPS256, k.rsa, "", claims(nil)), byKey, usertoken.ErrInvalid},
		{"another key", sign(t, jwt.SigningMethodRS256, foreign, "", claims(nil)), byKey, usertoken.ErrInvalid},
		{"crit", hs256(t, secret, map[string]any{"alg": "HS256", "crit": []string{"b64"}, "b64": false}, claims(nil)), bySecret, usertoken.ErrInvalid},
		{"another claim under a good signature", strings.Replace(good, part(t, claims(nil)), part(t, claims(map[string]any{"sub": "ann"})), 1), bySecret, usertoken.ErrInvalid},
		{"padded", good + "=", bySecret, usertoken.ErrInvalid},
		{"with a line feed", strings.Replace(good, ".", "\n.", 1), bySecret, usertoken.ErrInvalid},
		{"too long", hs256(t, secret, plain, claims(map[string]any{"x": strings.Repeat("x", 4096)})), bySecret, usertoken.ErrInvalid},
		{"no token", "abc", bySecret, usertoken.ErrInvalid},
		{"dots", "..", bySecret, usertoken.ErrInvalid},
		{"no keys", good, &usertoken.Keys{}, usertoken.ErrInvalid},
		{"HS256", good, bySecret, nil},
		{"RS256", sign(t, jwt.SigningMethodRS256, k.rsa, "", claims(nil)), byKey, nil},
		{"ES256", sign(t, jwt.SigningMethodES256, k.ecdsa, "", claims(nil)), byKey, nil},
		{"EdDSA", sign(t, jwt.SigningMethodEdDSA, k.ed, "", claims(nil)), byKey, nil},
	} {
		t.Run(tt.name, func(t *testing.T) { w.expect(t, tt.keys, tt.text, tt.want) })
	}
}

// What was right by the keys of one app is not remembered for another, nor for keys that changed.
func TestWhatIsRememberedIsOfItsKeys(t *testing.T) {
	w := open(t)
	text := hs256(t, secret, plain, claims(nil))
	w.expect(t, &usertoken.Keys{Secret: secret}, text, nil)
	w.expect(t, &usertoken.Keys{Secret: strings.ToUpper(secret)}, text, usertoken.ErrInvalid)
	keys := &usertoken.Keys{Secret: secret}
	if _, err := w.Verify(t.Context(), "other", keys, text); err != nil {
		t.Errorf("an app with the same secret and no aud: %v", err)
	}
	text = hs256(t, secret, plain, claims(map[string]any{"aud": "shop"}))
	w.expect(t, keys, text, nil)
	if _, err := w.Verify(t.Context(), "other", keys, text); !errors.Is(err, usertoken.ErrInvalid) {
		t.Errorf("a token for shop at other: %v", err)
	}
}

func TestTheOldSecretIsRightToo(t *testing.T) {
	w := open(t)
	keys := &usertoken.Keys{Secret: strings.ToUpper(secret), OldSecret: secret}
	text := hs256(t, secret, plain, claims(nil))
	if token := w.expect(t, keys, text, nil); !token.Old {
		t.Error("the use of the old secret is not counted")
	}
	if token := w.expect(t, keys, text, nil); token.Old {
		t.Error("a token that is remembered counts as another use")
	}
	if token := w.expect(t, keys, hs256(t, keys.Secret, plain, claims(nil)), nil); token.Old {
		t.Error("the new secret counts as the old one")
	}
	w.expect(t, keys, hs256(t, secret, plain, claims(map[string]any{"exp": start/1000 - 61})), usertoken.ErrEnded)
}

// A token is good until it expires, though it is remembered.
func TestARememberedTokenExpires(t *testing.T) {
	w := open(t)
	keys := &usertoken.Keys{Secret: secret}
	text := hs256(t, secret, plain, claims(map[string]any{"exp": start/1000 + 10}))
	w.expect(t, keys, text, nil)
	w.now.Add(69_000)
	w.expect(t, keys, text, nil)
	w.now.Add(1_000)
	w.expect(t, keys, text, usertoken.ErrEnded)
}

func TestAKickVoidsOlderTokens(t *testing.T) {
	w := open(t)
	keys := &usertoken.Keys{Secret: secret}
	text, undated := hs256(t, secret, plain, claims(nil)), hs256(t, secret, plain, claims(map[string]any{"iat": nil}))
	w.expect(t, keys, text, nil)
	w.expect(t, keys, undated, nil)
	for range 10 {
		w.expect(t, keys, text, nil)
	}
	if n := w.asked.Load(); n != 2 {
		t.Errorf("the kicks were asked %d times for two tokens", n)
	}
	w.kicked.Store(start + 100)
	w.now.Add(5_000)
	w.expect(t, keys, text, usertoken.ErrEnded)
	w.expect(t, keys, undated, usertoken.ErrEnded)
	w.expect(t, keys, hs256(t, secret, plain, claims(map[string]any{"iat": start/1000 + 1})), nil)
	// A store that does not answer refuses no caller.
	w.broken.Store(true)
	w.expect(t, keys, hs256(t, secret, plain, claims(map[string]any{"iat": start/1000 + 2})), nil)
}

// The memory of tokens is bounded, and what is forgotten is proven anew.
func TestMoreTokensThanAreRemembered(t *testing.T) {
	w := open(t)
	keys := &usertoken.Keys{Secret: secret}
	first := hs256(t, secret, plain, claims(nil))
	w.expect(t, keys, first, nil)
	w.Fill(100_000, start)
	w.expect(t, keys, first, nil)
	if n := w.Remembered(); n > 1<<16 {
		t.Errorf("%d tokens are remembered", n)
	}
}

func TestMake(t *testing.T) {
	w := open(t)
	text, err := usertoken.Make(secret, app, "tom", time.UnixMilli(start), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	token := w.expect(t, &usertoken.Keys{Secret: secret}, text, nil)
	if want := (usertoken.Token{Peer: "tom", Issued: presence.Millis(start), Expires: presence.Millis(start + 3_600_000)}); token != want {
		t.Errorf("got %+v, want %+v", token, want)
	}
	if _, err := usertoken.Make(secret, app, "", time.UnixMilli(start), time.Hour); err == nil {
		t.Error("a token without a peer is made")
	}
}

func TestParsePEM(t *testing.T) {
	small := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(3), 1022), E: 65537}
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	private, _ := x509.MarshalPKCS8PrivateKey(keyPairs().ed)
	for name, text := range map[string]string{
		"nothing": "", "no PEM": "abc", "a small key": pemOf(t, small), "another curve": pemOf(t, &p384.PublicKey),
		"a private key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
		"broken":        string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})),
	} {
		if keys, err := usertoken.ParsePEM(text); err == nil {
			t.Errorf("%s: %d keys", name, len(keys))
		}
	}
}

// BenchmarkVerify is the CPU of a token: of one that is remembered, and of the first use.
func BenchmarkVerify(b *testing.B) {
	w := open(b)
	k := keyPairs()
	public, err := usertoken.ParsePEM(pemOf(b, &k.rsa.PublicKey, &k.ecdsa.PublicKey, k.ed.Public()))
	if err != nil {
		b.Fatal(err)
	}
	keys := &usertoken.Keys{Secret: secret, Public: public}
	run := func(name string, text string, forget bool) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if forget {
					w.Forget()
				}
				if _, err := w.Verify(b.Context(), app, keys, text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	hs := hs256(b, secret, plain, claims(nil))
	run("remembered", hs, false)
	run("HS256", hs, true)
	run("RS256", sign(b, jwt.SigningMethodRS256, k.rsa, "", claims(nil)), true)
	run("ES256", sign(b, jwt.SigningMethodES256, k.ecdsa, "", claims(nil)), true)
	run("EdDSA", sign(b, jwt.SigningMethodEdDSA, k.ed, "", claims(nil)), true)
}
