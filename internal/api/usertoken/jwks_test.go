package usertoken_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"rollcall/internal/api/usertoken"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// An issuer has Ed25519 keys by name, and serves its set by a transport, without a network.
type issuer struct {
	keys   map[string]ed25519.PrivateKey
	names  atomic.Pointer[[]string] // in the set
	answer atomic.Pointer[func(*http.Request) (*http.Response, error)]
	calls  atomic.Int64
}

func newIssuer(t testing.TB, names ...string) *issuer {
	i := &issuer{keys: map[string]ed25519.PrivateKey{}}
	for _, n := range names {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		i.keys[n] = key
	}
	i.publish(names...)
	i.serve(i.set)
	return i
}

func (i *issuer) publish(names ...string) { i.names.Store(&names) }

func (i *issuer) serve(answer func(*http.Request) (*http.Response, error)) { i.answer.Store(&answer) }

func (i *issuer) set(*http.Request) (*http.Response, error) {
	var list []string
	for _, n := range *i.names.Load() {
		list = append(list, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","use":"sig","alg":"EdDSA","kid":%q,"x":%q}`, n, b64(i.keys[n].Public().(ed25519.PublicKey))))
	}
	return says(200, `{"keys":[`+strings.Join(list, ",")+`]}`), nil
}

func says(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

// RoundTrip implements http.RoundTripper.
func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.calls.Add(1)
	return (*i.answer.Load())(r)
}

func (i *issuer) token(t testing.TB, id string) string {
	return sign(t, jwt.SigningMethodEdDSA, i.keys[id], id, claims(nil))
}

func remote(address string) *usertoken.Keys {
	return &usertoken.Keys{URL: address, Algorithm: "EdDSA"}
}

func openWith(t testing.TB, i http.RoundTripper, log io.Writer) *world {
	return open(t, func(d *usertoken.Deps) {
		d.HTTP = &http.Client{Transport: i}
		d.Log = slog.New(slog.NewTextHandler(log, nil))
	})
}

func TestKeysAtAURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t, "a", "b", "c")
		i.publish("a", "b")
		w := openWith(t, i, io.Discard)
		keys := remote("https://auth.example.com/jwks")
		w.expect(t, keys, i.token(t, "a"), nil)
		w.expect(t, keys, i.token(t, "b"), nil)
		w.expect(t, keys, i.token(t, "c"), usertoken.ErrInvalid)
		w.expect(t, keys, sign(t, jwt.SigningMethodEdDSA, i.keys["a"], "b", claims(nil)), usertoken.ErrInvalid)
		w.expect(t, keys, sign(t, jwt.SigningMethodEdDSA, i.keys["a"], "", claims(nil)), usertoken.ErrInvalid)
		for n := range 100 { // unknown ids make no call each
			w.expect(t, keys, sign(t, jwt.SigningMethodEdDSA, i.keys["a"], fmt.Sprint(n), claims(nil)), usertoken.ErrInvalid)
		}
		if n := i.calls.Load(); n != 1 {
			t.Errorf("%d fetches, want 1", n)
		}
		// A rotation: the new key is found when the gap is over, the old one is gone with its set.
		i.publish("b", "c")
		w.now.Add(5 * 60_000)
		w.expect(t, keys, i.token(t, "c"), nil)
		w.expect(t, keys, i.token(t, "a"), usertoken.ErrInvalid)
		if n := i.calls.Load(); n != 2 {
			t.Errorf("%d fetches, want 2", n)
		}
	})
}

// A kid of one issuer proves nothing at another, though both name their keys alike.
func TestKeysOfAnotherApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := newIssuer(t, "k1"), newIssuer(t, "k1")
		both := map[string]*issuer{"ours.example.com": ours, "theirs.example.com": theirs}
		w := openWith(t, transport(func(r *http.Request) (*http.Response, error) { return both[r.URL.Host].RoundTrip(r) }), io.Discard)
		one, other := remote("https://ours.example.com/jwks"), remote("https://theirs.example.com/jwks")
		w.expect(t, one, ours.token(t, "k1"), nil)
		w.expect(t, other, theirs.token(t, "k1"), nil)
		w.expect(t, one, theirs.token(t, "k1"), usertoken.ErrInvalid)
		w.expect(t, other, ours.token(t, "k1"), usertoken.ErrInvalid)
		// The same URL for another algorithm has none of these keys.
		w.expect(t, &usertoken.Keys{URL: one.URL, Algorithm: "RS256"}, ours.token(t, "k1"), usertoken.ErrInvalid)
		if n := ours.calls.Load(); n != 1 {
			t.Errorf("%d fetches, want 1: the token names another algorithm than the settings", n)
		}
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestAnIssuerThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t, "a", "b")
		i.publish("a")
		down := func(*http.Request) (*http.Response, error) { return nil, fmt.Errorf("connection refused") }
		i.serve(down)
		var log bytes.Buffer
		w := openWith(t, i, &log)
		keys := remote("https://user:pass@auth.example.com/jwks?key=hidden")
		for range 10 {
			w.expect(t, keys, i.token(t, "a"), usertoken.ErrKeys)
		}
		if n := i.calls.Load(); n != 1 {
			t.Errorf("%d fetches within ten seconds, want 1", n)
		}
		i.serve(i.set)
		w.now.Add(10_000)
		w.expect(t, keys, i.token(t, "a"), nil)
		// Down again: the keys stay for a day.
		i.serve(down)
		for range 23 {
			w.now.Add(3_600_000)
			w.Forget()
			text := sign(t, jwt.SigningMethodEdDSA, i.keys["a"], "a", claims(map[string]any{"exp": w.now.Load()/1000 + 60}))
			w.expect(t, keys, text, nil)
			synctest.Wait() // the fetch in the background has failed
		}
		w.now.Add(2 * 3_600_000)
		w.Forget()
		text := sign(t, jwt.SigningMethodEdDSA, i.keys["a"], "a", claims(map[string]any{"exp": w.now.Load()/1000 + 60}))
		w.expect(t, keys, text, usertoken.ErrKeys)
		synctest.Wait()
		if s := log.String(); !strings.Contains(s, "fetching token keys failed") || strings.Contains(s, "pass") || strings.Contains(s, "hidden") {
			t.Errorf("the log: %s", s)
		}
	})
}

func TestAnIssuerThatIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t, "a")
		i.serve(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		w := openWith(t, i, io.Discard)
		keys := remote("https://auth.example.com/jwks")
		began := time.Now()
		for range 5 {
			go w.expect(t, keys, i.token(t, "a"), usertoken.ErrKeys)
		}
		w.expect(t, keys, i.token(t, "a"), usertoken.ErrKeys)
		synctest.Wait()
		if took := time.Since(began); took > 5*time.Second || i.calls.Load() != 1 {
			t.Errorf("%d fetches in %v", i.calls.Load(), took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w.now.Add(10_000)
		began = time.Now()
		if _, err := w.Verify(ctx, app, keys, i.token(t, "a")); err == nil || time.Since(began) != time.Second {
			t.Errorf("a caller that waits a second: %v after %v", err, time.Since(began))
		}
	})
}

// What is no set of keys is refused whole, and the keys of before stay.
func TestAnswersThatAreNoKeys(t *testing.T) {
	i := newIssuer(t, "a")
	entry := func(id string) string {
		return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":%q,"x":%q}`, id, b64(i.keys["a"].Public().(ed25519.PublicKey)))
	}
	many := make([]string, 65)
	for n := range many {
		many[n] = entry(fmt.Sprint(n))
	}
	fetched := false // where the redirect leads
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetched = true
		_, _ = io.WriteString(w, `{"keys":[`+entry("a")+`]}`)
	}))
	defer elsewhere.Close()
	for name, answer := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"huge":     func(w http.ResponseWriter, _ *http.Request) { writeLong(w, `{"keys":[`+entry("a")+`],"x":"`) },
		"many": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"keys":[`+strings.Join(many, ",")+`]}`)
		},
		"twice": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"keys":[`+entry("a")+","+entry("a")+`]}`)
		},
		"none":   func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"keys":[]}`) },
		"a page": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `<html>`) },
		"a secret": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"keys":[{"kty":"oct","kid":"a","k":"AAAA"}]}`)
		},
		"for secrecy": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Replace(`{"keys":[`+entry("a")+`]}`, `"kid"`, `"use":"enc","kid"`, 1))
		},
		"not found": http.NotFound,
		"a broken key": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"AA"}]}`)
		},
		"off the curve": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"keys":[{"kty":"EC","crv":"P-256","kid":"a","x":"`+b64(make([]byte, 32))+`","y":"`+b64(make([]byte, 32))+`"}]}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(answer)
			defer srv.Close()
			w := open(t)
			w.expect(t, remote(srv.URL), i.token(t, "a"), usertoken.ErrKeys)
			if fetched {
				t.Error("the redirect was followed")
			}
		})
	}
}

// writeLong answers with more than any set of keys has.
func writeLong(w io.Writer, head string) {
	_, _ = io.WriteString(w, head)
	room := bytes.Repeat([]byte{'x'}, 1<<16)
	for range 64 {
		if _, err := w.Write(room); err != nil {
			return
		}
	}
	_, _ = io.WriteString(w, `"}`)
}

// Every kind of key is read from a set.
func TestKindsOfKeys(t *testing.T) {
	k := keyPairs()
	point, err := k.ecdsa.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	set := fmt.Sprintf(`{"keys":[{"kty":"RSA","kid":"r","n":%q,"e":"AQAB"},{"kty":"EC","crv":"P-256","kid":"e","x":%q,"y":%q},{"kty":"OKP","crv":"Ed25519","kid":"o","x":%q},{"kty":"new"}]}`,
		b64(k.rsa.N.Bytes()), b64(point[1:33]), b64(point[33:]), b64(k.ed.Public().(ed25519.PublicKey)))
	w := openWith(t, transport(func(*http.Request) (*http.Response, error) { return says(200, set), nil }), io.Discard)
	for _, tt := range []struct {
		id     string
		method jwt.SigningMethod
		key    any
	}{{"r", jwt.SigningMethodRS256, k.rsa}, {"e", jwt.SigningMethodES256, k.ecdsa}, {"o", jwt.SigningMethodEdDSA, k.ed}} {
		keys := &usertoken.Keys{URL: "https://auth.example.com/" + tt.id, Algorithm: tt.method.Alg()}
		w.expect(t, keys, sign(t, tt.method, tt.key, tt.id, claims(nil)), nil)
		// The only one of its kind may go without a name.
		w.expect(t, keys, sign(t, tt.method, tt.key, "", claims(nil)), nil)
	}
}

func TestCheckURL(t *testing.T) {
	for address, right := range map[string]bool{
		"https://auth.example.com/jwks": true, "http://127.0.0.1:8080/jwks": true, "http://localhost/jwks": true, "http://[::1]/": true,
		"http://auth.example.com/jwks": false, "file:///etc/passwd": false, "auth.example.com": false, "https://": false, "": false,
	} {
		if err := usertoken.CheckURL(address); (err == nil) != right {
			t.Errorf("%q: %v", address, err)
		}
	}
}
