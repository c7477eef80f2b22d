package rollcall_test

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"rollcall/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	app       = "example"
	appKey    = "app-key-of-the-example"
	masterKey = "master-key-of-the-example"
)

// serve starts a server that keeps nothing, and returns where it listens.
func serve(t testing.TB) (address string) {
	t.Helper()
	cfg := server.DefaultConfig()
	cfg.Listen, cfg.Admin, cfg.Data = "127.0.0.1:0", "127.0.0.1:0", ""
	cfg.Apps = []server.App{{ID: app, AppKey: appKey, MasterKey: masterKey}}
	srv, err := server.New(cfg, slog.New(slog.NewTextHandler(io.Discard, nil)), nil)
	if err == nil {
		err = srv.Start(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Stop(context.Background()) })
	return srv.Listen()
}
