package rollcall

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A userToken keeps the user token of a client, and takes another before it ends.
type userToken struct {
	take func(ctx context.Context) (string, error)

	mu   sync.Mutex // while one is taken, the others wait for it
	text string
	due  time.Time // when another is taken
}

const (
	early   = time.Minute // before its end, or a fifth of its life, another token is taken
	soonest = time.Second // between two renewals, whatever the tokens say
)

// get returns a token that has not ended, and when the next one is to be taken.
func (u *userToken) get(ctx context.Context) (text string, due time.Time, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.text != "" && time.Now().Before(u.due) {
		return u.text, u.due, nil
	}
	if text, err = u.take(ctx); err != nil {
		return "", time.Time{}, unreachable("Token", err)
	}
	life, err := lifeOf(text, time.Now())
	if err != nil {
		return "", time.Time{}, err
	}
	u.text, u.due = text, time.Now().Add(life)
	return u.text, u.due, nil
}

// refuse drops a token that the server has refused, so that another is taken.
func (u *userToken) refuse(text string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.text == text {
		u.text = ""
	}
}

// lifeOf returns for how long a token that was taken at now is used. The clock of this machine may
// be wrong: then the times in the token count from now.
func lifeOf(text string, now time.Time) (time.Duration, error) {
	var claims struct {
		Expires float64 `json:"exp"`
		Issued  float64 `json:"iat"`
	}
	parts := strings.Split(text, ".")
	if len(parts) == 3 {
		if b, err := base64.RawURLEncoding.DecodeString(parts[1]); err != nil || json.Unmarshal(b, &claims) != nil {
			claims.Expires = 0
		}
	}
	if claims.Expires <= 0 || claims.Expires > 1e11 {
		return 0, &Error{Code: "invalid", Text: "Token returned what is no user token: a JSON Web Token with exp"}
	}
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	left := time.UnixMilli(int64(claims.Expires * 1000)).Sub(now)
	whole := max(left, early)
	if claims.Issued > 0 {
		whole = seconds(min(claims.Expires-claims.Issued, 1e9))
	}
	if left <= 0 || left > whole {
		left = whole
	}
	return left - min(early, left/5), nil
}

// authorize adds the user token to a request and returns it; "" when the client has none.
func (c *Client) authorize(r *http.Request) (text string, err error) {
	if c.token == nil {
		return "", nil
	}
	if text, _, err = c.token.get(r.Context()); err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+text)
	return text, nil
}

// A renewer renews the user token of a socket. A renewal that fails is tried again: the socket
// stays open until half a minute after its token.
type renewer struct {
	token   *userToken
	say     func(any) error
	refused chan struct{} // the last renewal was refused
}

// renewal is the id of messages that renew a user token.
const renewal = 4

// run renews the token first shown until ctx ends.
func (r *renewer) run(ctx context.Context, shown string) {
	var b backoff
	_, due, err := r.token.get(ctx)
	for {
		wait := max(time.Until(due), soonest)
		if err != nil {
			wait = b.next(unreachable("renew", err))
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		case <-r.refused:
			t.Stop()
			r.token.refuse(shown)
			if !pause(ctx, b.next(&Error{})) {
				return
			}
		}
		var text string
		if text, due, err = r.token.get(ctx); err == nil && text != shown {
			err = r.say(map[string]any{"op": "user_token", "id": renewal, "user_token": text})
			shown = text
		}
	}
}

// answered takes the answer to a renewal. There is one at a time, so that the channel has room.
func (r *renewer) answered(ok bool) {
	if !ok && len(r.refused) == 0 {
		r.refused <- struct{}{}
	}
}
