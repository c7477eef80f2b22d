package api

import (
	"context"
	"errors"
	"time"

	"rollcall/internal/api/usertoken"
	"rollcall/presence"
)

// Peer returns the peer that c has proven to be; "" for a caller without a name.
func (c *Caller) Peer() presence.PeerID {
	if c.User == nil {
		return ""
	}
	return c.User.Peer
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

// name takes text for the user token of c on the app called id.
func (g *Gate) name(ctx context.Context, c *Caller, id presence.AppID, text string) error {
	c.App, c.Rights, c.User = nil, None, nil
	app := g.deps.Keys.Lookup(id)
	token, err := g.verify(ctx, app, text)
	if err == nil {
		c.App, c.Rights, c.User = app, Named, &token
		return nil
	}
	if limited := g.Unproven(c); limited != nil {
		return limited
	}
	return err
}

// verify returns what text says, a user token of app, which may be nil.
func (g *Gate) verify(ctx context.Context, app *App, text string) (usertoken.Token, error) {
	if g.deps.Users == nil || app == nil || app.Tokens == nil {
		return usertoken.Token{}, Errorf("unauthorized", "this app takes no user tokens; none of its keys was presented")
	}
	token, err := g.deps.Users.Verify(ctx, app.ID, app.Tokens, text)
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
