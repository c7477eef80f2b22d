package rollcall_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	rollcall "rollcall/client/go"
)

// The server's TLS is the proxy's, with a certificate of the house. Calls, streams and sockets
// connect as the HTTP client of the app does; without it each says why it cannot, and retries.
func TestCallsStreamsAndSocketsUseTheTLSOfTheApp(t *testing.T) {
	target, err := url.Parse("http://" + serve(t))
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1
	front := httptest.NewUnstartedServer(proxy)
	front.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that are refused on purpose
	front.StartTLS()
	t.Cleanup(front.Close)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := rollcall.New(rollcall.Config{URL: front.URL, App: app, Key: appKey, HTTP: front.Client()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	present, leave := context.WithCancel(ctx)
	there, gone := make(chan bool, 10), make(chan error, 1)
	go func() {
		gone <- c.Present(present, rollcall.Presence{Peer: "tom", Changed: func(on bool) { there <- on }})
	}()
	if !<-there {
		t.Error("tom is not present")
	}
	watch, stop := context.WithCancel(ctx)
	if err := c.Watch(watch, []string{"tom"}, func(p rollcall.Peer) {
		if p.Status == rollcall.Online {
			stop()
		}
	}); err != nil || ctx.Err() != nil {
		t.Errorf("watch: %v, %v", err, ctx.Err())
	}
	leave()
	if err := <-gone; err != nil {
		t.Errorf("present: %v", err)
	}
	if peers, err := c.Query(ctx, "tom"); err != nil || peers[0].Status != rollcall.Offline {
		t.Errorf("tom is %v (%v) after the logout", peers, err)
	}

	retried := make(chan *rollcall.Error, 10)
	stranger, err := rollcall.New(rollcall.Config{URL: front.URL, App: app, Key: appKey, Retrying: func(e *rollcall.Error) {
		select {
		case retried <- e:
		default:
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	var e *rollcall.Error
	if _, err := stranger.Query(ctx, "tom"); !errors.As(err, &e) || e.Code != rollcall.CodeUnreachable {
		t.Errorf("a query by one that does not trust the certificate: %v", err)
	}
	for name, run := range map[string]func(context.Context) error{
		"watch":   func(ctx context.Context) error { return stranger.Watch(ctx, []string{"tom"}, func(rollcall.Peer) {}) },
		"present": func(ctx context.Context) error { return stranger.Present(ctx, rollcall.Presence{Peer: "tom"}) },
	} {
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- run(ctx) }()
		if e := <-retried; e.Code != rollcall.CodeUnreachable {
			t.Errorf("%s retries after %v", name, e)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s ended with %v", name, err)
		}
		for len(retried) > 0 {
			<-retried
		}
	}
}

// A call that its caller gives up says so to errors.Is, and is still an error of the client.
func TestACallThatIsGivenUp(t *testing.T) {
	c, err := rollcall.New(rollcall.Config{URL: "http://" + serve(t), App: app, Key: appKey})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var e *rollcall.Error
	if _, err := c.Query(ctx, "tom"); !errors.Is(err, context.Canceled) || !errors.As(err, &e) {
		t.Errorf("got %v", err)
	}
	if _, err := rollcall.New(rollcall.Config{URL: "presence.example.com"}); !errors.As(err, &e) || e.Code != "invalid" {
		t.Errorf("an address without http: %v", err)
	}
}
