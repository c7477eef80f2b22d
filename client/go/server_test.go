package rollcall_test

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"rollcall/server"
	"rollcall/server/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	app       = "example"
	appKey    = "app-key-of-the-example"
	masterKey = "master-key-of-the-example"
	hookKey   = "hook-key-of-the-example"
)

// start starts a server that keeps nothing. The caller must stop it.
func start() (*server.Server, error) {
	cfg := config.Default()
	cfg.Listen, cfg.Admin, cfg.Data = "127.0.0.1:0", "127.0.0.1:0", ""
	cfg.Apps = []config.App{{ID: app, AppKey: appKey, MasterKey: masterKey, HookKey: hookKey}}
	srv, err := server.New(cfg, slog.New(slog.NewTextHandler(io.Discard, nil)), nil)
	if err != nil {
		return nil, err
	}
	return srv, srv.Start(context.Background())
}

// serve starts a server for t and returns its address.
func serve(t testing.TB) (address string) {
	t.Helper()
	srv, err := start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Stop(context.Background()) })
	return srv.Listen()
}
