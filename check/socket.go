package check

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // LeanCloud's signature
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/coder/websocket"
)

// A session is a login of the probe as LeanCloud's SDKs do it.
type session struct {
	*generation
	*line
	c *checker
	i int
}

// login opens a session of the probe.
func (c *checker) login(ctx context.Context, g *generation) (*session, error) {
	l, err := c.dial(ctx, c.rtm, g.subprotocol)
	if err != nil {
		return nil, err
	}
	s := &session{generation: g, line: l, c: c}
	m := &command{op: opOpen, device: c.peer}
	m.at, m.nonce, m.sign = c.signed()
	m.token = c.userToken()
	c.reported = true
	r, err := s.do(ctx, m)
	switch {
	case err != nil:
	case r.op == "opened":
		return s, nil
	case r.code == 4102 && c.mustSign():
		s.close()
		return c.login(ctx, g)
	case r.code == 4102 && c.MasterKey == "":
		err = errUnsigned
	default:
		err = failed(cureKeys, "a login by %s is refused: %d %s", g.subprotocol, r.code, plain(r.reason))
	}
	s.close()
	return nil, err
}

const errUnsigned = skip("logins have to be signed; the master key is not set, so none was made")

// mustSign has logins be signed from now on; false when they are, or cannot be.
func (c *checker) mustSign() bool {
	if c.signs || c.MasterKey == "" {
		return false
	}
	c.signs = true
	return true
}

// signed returns the signature of a login; an empty one when none is needed.
func (c *checker) signed() (at int64, nonce, sign string) {
	if !c.signs {
		return 0, "", ""
	}
	at = c.Now().UnixMilli()
	mac := hmac.New(sha1.New, []byte(c.MasterKey))
	fmt.Fprintf(mac, "%s:%s::%d:%s", c.App, c.peer, at, c.peer)
	return at, c.peer, hex.EncodeToString(mac.Sum(nil))
}

// do sends m and returns what is answered.
func (s *session) do(ctx context.Context, m *command) (reply, error) {
	s.i++
	m.app, m.peer, m.i = s.c.App, s.c.peer, s.i
	if err := s.write(ctx, s.message, s.encode(m)); err != nil {
		return reply{}, err
	}
	b, err := s.next(ctx)
	if err != nil {
		return reply{}, err
	}
	r, err := s.decode(b)
	if err != nil {
		return reply{}, failed(curePaths, "%s answers on the socket what is not LeanCloud's protocol", plain(s.c.rtm))
	}
	return r, nil
}

// logout ends s, in order.
func (s *session) logout(ctx context.Context) error {
	defer s.close()
	r, err := s.do(ctx, &command{op: opClose})
	if err == nil && r.op != "closed" {
		err = failed(cureProbe, "a logout by %s is answered with %d %s", s.subprotocol, r.code, plain(r.reason))
	}
	return err
}

// socket logs in by each generation of LeanCloud's wire, asks who is online, and logs out.
func (c *checker) socket(ctx context.Context) (string, error) {
	if c.rtm == "" {
		return "", skip("the check route has found no address of a socket")
	}
	var spoken []string
	for i := range generations {
		g := &generations[i]
		s, err := c.login(ctx, g)
		if err != nil {
			return "", err
		}
		if err := s.use(ctx); err != nil {
			s.close()
			return "", err
		}
		if err := s.logout(ctx); err != nil {
			return "", err
		}
		spoken = append(spoken, g.subprotocol)
	}
	if c.AppKey != "" {
		if err := c.shows(ctx, "0", "a logout"); err != nil {
			return "", err
		}
	}
	return "login, query, heartbeat and logout by " + strings.Join(spoken, ", "), nil
}

// use does on s what an app does.
func (s *session) use(ctx context.Context) error {
	r, err := s.do(ctx, &command{op: opQuery, asked: s.c.peer})
	if err != nil {
		return err
	}
	if !slices.Contains(r.online, s.c.peer) {
		return failed(cureProbe, "a query by %s does not show the probe online: %d %s", s.subprotocol, r.code, plain(r.reason))
	}
	if err := s.ping(ctx); err != nil {
		return err
	}
	if s.subprotocol == "lc.json.3" { // its SDKs have a heartbeat of their own
		if err := s.write(ctx, s.message, []byte("{}")); err != nil {
			return err
		}
		if _, err := s.next(ctx); err != nil {
			return err
		}
	}
	if s.c.AppKey == "" {
		return nil
	}
	return s.c.shows(ctx, "1", "a login")
}

// A native is a socket of rollcall's own wire with the probe present on it.
type native struct{ *line }

// present makes the probe present on a native socket.
func (c *checker) present(ctx context.Context) (*native, error) {
	l, err := c.dial(ctx, "ws"+strings.TrimPrefix(c.base.String(), "http")+"/v1/socket")
	if err != nil {
		return nil, err
	}
	n := &native{l}
	hello := map[string]any{"op": "hello", "app": c.App, "key": c.AppKey}
	if token := c.userToken(); token != "" {
		hello["user_token"] = token
	}
	err = n.send(ctx, hello)
	if err == nil {
		err = n.begin(ctx, c)
	}
	if err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

func (n *native) begin(ctx context.Context, c *checker) error {
	present := map[string]any{"op": "present", "id": 1, "peer": c.peer, "platform": "check"}
	if at, nonce, sign := c.signed(); sign != "" {
		present["time"], present["nonce"], present["sign"] = at, nonce, sign
	}
	c.reported = true
	if err := n.send(ctx, present); err != nil {
		return err
	}
	answer, err := n.answer(ctx)
	switch {
	case err != nil:
		return err
	case answer.Op == "ok":
		return nil
	case answer.Code == "unauthorized" && c.mustSign():
		return n.begin(ctx, c)
	case answer.Code == "unauthorized" && c.MasterKey == "":
		return errUnsigned
	}
	return failed(cureKeys, "present on /v1/socket is refused: %s", plain(answer.Error))
}

func (n *native) send(ctx context.Context, v any) error {
	return n.write(ctx, websocket.MessageText, encode(v))
}

type nativeAnswer struct{ Op, Code, Error string }

// answer returns the next message that answers one of this side.
func (n *native) answer(ctx context.Context) (m nativeAnswer, err error) {
	for range unreadMost {
		b, err := n.next(ctx)
		if err != nil {
			return m, err
		}
		if json.Unmarshal(b, &m) != nil {
			break
		}
		if m.Op == "ok" || m.Op == "error" {
			return m, nil
		}
	}
	return m, failed(curePaths, "/v1/socket does not answer as rollcall does")
}

// absent logs the probe out.
func (n *native) absent(ctx context.Context) error {
	defer n.close()
	if err := n.send(ctx, map[string]any{"op": "absent", "id": 2}); err != nil {
		return err
	}
	_, err := n.answer(ctx)
	return err
}

// presentOnce makes the probe present on a native socket, and ends that.
func (c *checker) presentOnce(ctx context.Context) error {
	n, err := c.present(ctx)
	if err != nil {
		return err
	}
	if err := c.shows(ctx, "1", "present"); err != nil {
		n.close()
		return err
	}
	if err := n.absent(ctx); err != nil {
		return err
	}
	return c.shows(ctx, "0", "absent")
}
