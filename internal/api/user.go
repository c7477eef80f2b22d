package api

import (
	"context"
	"errors"
	"time"

	"rollcall/internal/api/usertoken"
	"rollcall/presence"
)

// The values of [Config.Ask] and [Config.Present].
const (
	Anyone  = "anyone"
	ByToken = "token"
)

// Peer returns the peer that c has proven to be; "" for a caller without a name.
func (c *Caller) Peer() presence.PeerID {
	switch {
	case c.User != nil:
		return c.User.Peer
	case c.Pass != nil:
		return c.Pass.Peer
	}
	return ""
}

// vouched reports whether a server of the app stands behind c: it has a name, is such a server, or
// has a ticket from one.
func (c *Caller) vouched() bool {
	return c.Master() || c.Peer() != "" || c.Pass != nil && c.Pass.Server
}

// Grace is how long what a user token opened stays open after its end, so that its renewal may be
// late.
const Grace = 30 * time.Second

// Ends returns when what c has opened ends, in Unix milliseconds; 0 is never.
func (c *Caller) Ends() int64 {
	switch {
	case c.Pass != nil:
		return c.Pass.Ends()
	case c.User != nil:
		return max(int64(c.User.Expires), c.gate.deps.Now()) + Grace.Milliseconds()
	}
	return 0
}

// identifyNamed fills in who calls with p, which holds what may be a user token: named, if it is
// one, and else by the keys of p, as far as they give more than the right of a client.
//
// A bearer that is right as a token is no key, so it is not compared with the keys before: that
// costs as much again.
func (g *Gate) identifyNamed(ctx context.Context, c *Caller, p *Presented) (named bool, err error) {
	keys := *p
	keys.Bearer = ""
	c.App, c.Rights = g.deps.Keys.Check(keys)
	if c.Rights.Has(Master) || c.Rights.Has(Hook) {
		return false, nil
	}
	if c.App != nil && c.App.Tokens == nil && p.Bearer == "" {
		return false, nil // without user tokens X-LC-Session holds what is of another product
	}
	app := g.deps.Keys.Lookup(p.ID)
	token, err := VerifyUser(ctx, g.deps.Users, app, p.UserToken)
	if err == nil {
		c.App, c.Rights, c.User = app, Named, &token
		return true, nil
	}
	if c.App, c.Rights = g.deps.Keys.Check(*p); c.Rights.Has(Master) || c.Rights.Has(Hook) {
		return false, nil // a key with two dots
	}
	if c.App, c.Rights = nil, None; g.showsHook(p) {
		return false, nil
	}
	return false, g.unnamed(c, err)
}

// unnamed charges c for a user token that is refused with err, and returns why.
func (g *Gate) unnamed(c *Caller, err error) error {
	if limited := g.Unproven(c); limited != nil {
		return limited
	}
	return err
}

// name takes text for the user token of c on the app called id.
func (g *Gate) name(ctx context.Context, c *Caller, id presence.AppID, text string) error {
	c.App, c.Rights = nil, None
	app := g.deps.Keys.Lookup(id)
	token, err := VerifyUser(ctx, g.deps.Users, app, text)
	if err != nil {
		return g.unnamed(c, err)
	}
	c.App, c.Rights, c.User = app, Named, &token
	return nil
}

// Renew takes text for the next user token of c, which came by one.
func (g *Gate) Renew(ctx context.Context, c *Caller, text string) error {
	if c.User == nil {
		return Errorf("invalid", "this socket said hello without a user token")
	}
	token, err := VerifyUser(ctx, g.deps.Users, g.Current(c), text)
	if err == nil && token.Peer != c.User.Peer {
		err = Errorf("forbidden", "this user token is of another peer; open another socket for it")
	}
	if err != nil {
		return g.unnamed(c, err)
	}
	c.User = &token
	return nil
}

// admitPass gives c the rights of its pass, unless the peer that bought it was kicked since.
func (g *Gate) admitPass(ctx context.Context, c *Caller) {
	p := c.Pass
	if p == nil {
		return
	}
	if p.Peer != "" && g.deps.Users != nil && g.deps.Users.Kicked(ctx, presence.Key{App: c.App.ID, Peer: p.Peer}, p.Issued) {
		c.Release()
		c.Pass, c.release = nil, nil
		return
	}
	c.Rights = Client
	if p.Peer != "" {
		c.Rights = Named
	}
}

// VerifyUser returns what text says, a user token of app, which may be nil, as may users. Errors
// are in the words of the API.
func VerifyUser(ctx context.Context, users *usertoken.Verifier, app *App, text string) (usertoken.Token, error) {
	if users == nil || app == nil || app.Tokens == nil {
		return usertoken.Token{}, Errorf("unauthorized", "this app takes no user tokens; none of its keys was presented")
	}
	token, err := users.Verify(ctx, app.ID, app.Tokens, text)
	switch {
	case err == nil:
		if token.Old {
			app.UsedOld(OldTokenSecret)
		}
		return token, nil
	case errors.Is(err, usertoken.ErrEnded):
		return token, Errorf("token_expired", "%v", err)
	case errors.Is(err, usertoken.ErrKeys):
		return token, Errorf("unavailable", "%v; trying again is safe", err).WithRetry(keysRetry)
	}
	return token, Errorf("unauthorized", "%v", err)
}

// keysRetry is when keys that could not be fetched are fetched again.
const keysRetry = 10 * time.Second
