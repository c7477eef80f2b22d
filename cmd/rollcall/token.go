package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"rollcall/internal/api/usertoken"
	"rollcall/internal/configload"
	"rollcall/presence"
	"rollcall/server/config"
)

type tokenCmd struct {
	Make tokenMakeCmd `cmd:"" help:"Make a user token, by which a client is one peer, for trying."`
}

type tokenMakeCmd struct {
	settings
	Peer string `required:"" placeholder:"ID" help:"The peer."`
	For  string `placeholder:"DURATION" default:"1h" help:"How long it is good, such as 1h; at most gate.user_token_life, which is 1d."`
	App  string `placeholder:"ID" help:"The id of the app; it may be left out when there is one."`
}

// Help is shown below the flags.
func (tokenMakeCmd) Help() string {
	return `Reads token_secret of the app where serve reads it: the configuration, the environment, or keys.env in the data directory. Tokens of your users are made by your backend, with any library for JWT: docs/user-tokens.md.`
}

// Run prints a token.
func (c *tokenMakeCmd) Run(e *env) error {
	life, err := configload.ParseDuration(c.For)
	if err != nil {
		return misused(e, fmt.Errorf("--for %s: %w", c.For, err))
	}
	cfg, _, err := config.Load(e.ctx, c.sources(e.environ))
	if err != nil {
		return err
	}
	if life <= 0 || life > cfg.Gate.UserTokenLife {
		return misused(e, fmt.Errorf("--for %s is not between 0 and gate.user_token_life, %v", c.For, cfg.Gate.UserTokenLife))
	}
	app, err := c.app(&cfg)
	if err != nil {
		return err
	}
	if app.TokenSecret == "" {
		return &config.Hinted{Err: fmt.Errorf("app %s has no token_secret", app.ID), Hint: "give it one, such as the output of openssl rand -base64 36: token_secret of the app, or LEANCLOUD_APP_TOKEN_SECRET in keys.env, then rollcall reload"}
	}
	text, err := usertoken.Make(app.TokenSecret.Reveal(), presence.AppID(app.ID), presence.PeerID(c.Peer), time.Now(), life)
	if err != nil {
		return misused(e, fmt.Errorf("--peer: %w", err))
	}
	_, err = fmt.Fprintln(e.stdout, text)
	return err
}

// errNoApp: no app to make a token for.
var errNoApp = errors.New("there is no such app")

// app returns the app that the flags name.
func (c *tokenMakeCmd) app(cfg *config.Config) (config.App, error) {
	apps := cfg.Apps
	if len(apps) == 0 {
		app, err := config.KeptIn(cfg.Data)
		if err != nil {
			return app, &config.Hinted{
				Err:  fmt.Errorf("no app is configured, and none is kept in %s: %w", filepath.Join(cfg.Data, config.KeysFile), err),
				Hint: "say with --config or --data where the server has its apps, as root or the user of the server",
			}
		}
		apps = []config.App{app}
	}
	switch i := slices.IndexFunc(apps, func(a config.App) bool { return a.ID == c.App }); {
	case i >= 0:
		return apps[i], nil
	case c.App != "":
		return config.App{}, fmt.Errorf("%w: %.80q", errNoApp, c.App)
	case len(apps) > 1:
		return config.App{}, &config.Hinted{Err: fmt.Errorf("there are %d apps", len(apps)), Hint: "name one with --app ID"}
	}
	return apps[0], nil
}
