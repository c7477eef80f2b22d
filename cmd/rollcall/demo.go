package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"rollcall/demo"
	"rollcall/internal/logs"
	"rollcall/server"
	"rollcall/server/config"
)

type demoCmd struct {
	Listen string        `default:"127.0.0.1:3000" placeholder:"ADDR" help:"Where the page and its server listen."`
	Day    time.Duration `default:"4m" help:"How long a day of the crowd lasts; at least 10s."`
}

// Help is the long help of the command.
func (demoCmd) Help() string {
	return "Starts a server in memory, with keys of its own, and fifty people who live a day in minutes; its page shows them. It needs no configuration, reads none, and leaves nothing behind."
}

// demoSettings are those of the demo's server: what is lost is noticed in seconds, since its days
// last minutes.
var demoSettings = map[string]string{
	"data": "", "admin": "127.0.0.1:0", "log.level": "warn", "presence.grace": "0s", "leancloud.hook_lease": "1m",
	"gateway.ping": "2s", "gateway.lease": "6s", "gateway.hold": "2s", "gateway.grace": "2s", "gateway.spread": "0s",
}

// Run shows the demo until the context of e ends.
func (c *demoCmd) Run(e *env) error {
	if c.Day < 10*time.Second {
		fmt.Fprintf(e.stderr, "rollcall: --day %v: a day of the crowd lasts 10s or longer\n", c.Day)
		return errMisused
	}
	src := config.Sources{Flags: []config.Flag{{Key: "listen", Value: c.Listen, Name: "--listen"}}}
	for key, value := range demoSettings {
		src.Flags = append(src.Flags, config.Flag{Key: key, Value: value, Name: "demo"})
	}
	cfg, _, err := config.Load(e.ctx, src)
	if err != nil {
		return err
	}
	app := config.App{ID: rand.Text(), AppKey: config.Secret(rand.Text()), MasterKey: config.Secret(rand.Text()), HookKey: config.Secret(rand.Text())}
	cfg.Apps = []config.App{app}
	sink := logs.NewSink(e.stderr)
	defer sink.Close(500 * time.Millisecond)
	log, _ := config.NewLog(sink, cfg.Log)
	srv, err := server.New(cfg, log, sink)
	if err != nil {
		return err
	}
	show, err := newDemo(baseURL(srv.Listen()), app, c.Day, log)
	if err != nil {
		return err
	}
	srv.Demo(show.Handler())
	if err := srv.Start(e.ctx); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "%s/demo/\n", baseURL(srv.Listen()))
	show.Run(e.ctx)
	srv.Stop(context.WithoutCancel(e.ctx))
	return nil
}

// newDemo returns the crowd for a server; each of its child processes runs this program.
func newDemo(url string, app config.App, day time.Duration, log *slog.Logger) (*demo.Demo, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return demo.New(demo.Config{
		URL: url, App: app.ID, Key: app.AppKey.Reveal(), MasterKey: app.MasterKey.Reveal(), HookKey: app.HookKey.Reveal(), Day: day,
		Child:  func() *exec.Cmd { return exec.Command(self, "demo-hold") },
		Failed: func(doing string, err error) { log.Debug("demo step failed", "step", doing, "err", err) },
	})
}

type demoHoldCmd struct{}

// Run holds a socket for the demo, which says on standard input for which peer.
func (demoHoldCmd) Run(e *env) error { return demo.Hold(e.ctx, os.Stdin) }
