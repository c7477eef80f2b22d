package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"
)

const functions = "/1.1/functions/"

// ask asks getOnOffStatus for the probe at path.
func (c *checker) ask(ctx context.Context, path string) (string, error) {
	a, err := c.call(ctx, http.MethodPost, path, encode(map[string]any{"peerIds": []string{c.peer}}), c.appKey())
	if err != nil {
		return "", err
	}
	if err := a.must(http.StatusOK, path); err != nil {
		return "", err
	}
	var answer struct{ Result []*string }
	if json.Unmarshal(a.body, &answer) != nil || len(answer.Result) != 1 {
		return "", failed(curePaths, "%s is not answered as getOnOffStatus is, with one value for each id", path)
	}
	if answer.Result[0] == nil {
		return "null", nil
	}
	return *answer.Result[0], nil
}

// shows returns an error when the probe is not shown as want.
func (c *checker) shows(ctx context.Context, want, after string) error {
	got, err := c.ask(ctx, functions+"getOnOffStatus")
	if err != nil {
		return err
	}
	// Unknown is an offline that was not remembered.
	if got != want && (want != "0" || got != "null") {
		return failed(cureProbe, "after %s getOnOffStatus answers %s for the probe, not %s", after, plain(got), want)
	}
	return nil
}

// function asks the function by both its paths, and with a wrong key.
func (c *checker) function(ctx context.Context) (string, error) {
	if c.AppKey == "" {
		return "", skip("the app key is not set")
	}
	began := c.Now()
	for _, path := range []string{functions + "getOnOffStatus", "/1.1/call/getOnOffStatus", "/1/functions/getOnOffStatus"} {
		if _, err := c.ask(ctx, path); err != nil {
			return "", err
		}
	}
	took := c.Now().Sub(began) / 3
	c.answered = true
	a, err := c.call(ctx, http.MethodPost, functions+"getOnOffStatus", encode(map[string]any{"peerIds": []string{c.peer}}), key{"X-LC-Key", "wrong-" + c.peer})
	if err != nil {
		return "", err
	}
	if a.status != http.StatusUnauthorized {
		return "", failed(curePaths, "a wrong app key is answered with %d: another program answers there", a.status)
	}
	return fmt.Sprintf("getOnOffStatus is answered by its three paths, in %v", took.Round(time.Millisecond/10)), nil
}

// bodyIDs is how many peers a query may name by default. Their ids are long, so that the body is
// nearly as large as one may be.
const bodyIDs = 10_000

// body asks for as many peers as one query may name.
func (c *checker) body(ctx context.Context) (string, error) {
	if c.AppKey == "" {
		return "", skip("the app key is not set")
	}
	ids := make([]string, bodyIDs)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s-%05d-%060d", c.peer, i, 0)
	}
	body := encode(map[string]any{"peerIds": ids})
	a, err := c.call(ctx, http.MethodPost, functions+"getOnOffStatus", body, c.appKey())
	if err == nil {
		err = a.must(http.StatusOK, fmt.Sprintf("a query of %d ids (%d KiB)", bodyIDs, len(body)>>10))
	}
	if f := (*failure)(nil); errors.As(err, &f) && f.cure == cureNoAnswer && c.answered {
		f.cure = cureBodies // small ones are answered
	}
	if err != nil {
		return "", err
	}
	var answer struct{ Result []any }
	if json.Unmarshal(a.body, &answer) != nil || len(answer.Result) != bodyIDs {
		return "", failed(curePaths, "a query of %d ids is not answered with a value for each", bodyIDs)
	}
	return fmt.Sprintf("%d ids in %d KiB are answered in %v", bodyIDs, len(body)>>10, a.took.Round(time.Millisecond/10)), nil
}

func (c *checker) hook(ctx context.Context, name string, keys ...key) (*answer, error) {
	return c.call(ctx, http.MethodPost, functions+name, encode(map[string]any{"peerId": c.peer, "closeCode": 1}), keys...)
}

// hooks calls the hooks without a key, with a wrong one, and with the right one.
func (c *checker) hooks(ctx context.Context) (string, error) {
	if c.AppKey == "" {
		return "", skip("the app key is not set")
	}
	for _, keys := range [][]key{{c.appKey()}, {c.appKey(), {"X-LC-Hook-Key", "wrong-" + c.peer}}} {
		a, err := c.hook(ctx, "_clientOnline", keys...)
		if err != nil {
			return "", err
		}
		if a.status == http.StatusOK {
			c.reported = true
			return "", failed(cureHooks, "a hook without the hook key is taken: anybody may report")
		}
		if err := a.must(http.StatusUnauthorized, "a hook without the hook key"); err != nil {
			return "", err
		}
	}
	if c.HookKey == "" {
		return "", skip("a hook without a key is refused; the hook key is not set, so none was reported")
	}
	if err := c.secrets(); err != nil {
		return "", err
	}
	c.reported = true
	for _, step := range []struct{ hook, want string }{{"_clientOnline", "1"}, {"_clientOffline", "0"}} {
		a, err := c.hook(ctx, step.hook, c.appKey(), c.hookKey())
		if err != nil {
			return "", err
		}
		if err := a.must(http.StatusOK, step.hook+" with the hook key"); err != nil {
			return "", err
		}
		if err := c.shows(ctx, step.want, step.hook); err != nil {
			return "", err
		}
	}
	return "without the hook key they are refused, with it they count", nil
}

// forged is an address that a client behind no proxy claims; no network has it.
var forged = netip.MustParseAddr("203.0.113.77")

// seenAs finds the address in the refusal of a hook.
var seenAs = regexp.MustCompile(`request from ([0-9a-fA-F.:]+)`)

// address asks the server what address it sees.
func (c *checker) address(ctx context.Context) (string, error) {
	if c.AppKey == "" {
		return "", skip("the app key is not set")
	}
	seen, err := c.seen(ctx, c.appKey())
	if err != nil {
		return "", err
	}
	if why := addressProblem(seen, c.local, c.remote); why != "" {
		return "", failed(cureAddress, "rollcall sees this machine as %s: %s", seen, why)
	}
	if c.proxied { // one without a proxy would log this machine as a proxy that is not named
		again, err := c.seen(ctx, c.appKey(), key{"X-Forwarded-For", forged.String()})
		if err != nil {
			return "", err
		}
		if again == forged {
			return "", failed(cureAddress, "the proxy passes on X-Forwarded-For as a client wrote it, so clients choose the address that they are limited by")
		}
	}
	return fmt.Sprintf("rollcall sees this machine as %s", seen), nil
}

func (c *checker) seen(ctx context.Context, keys ...key) (netip.Addr, error) {
	a, err := c.hook(ctx, "_clientOnline", keys...)
	if err != nil {
		return netip.Addr{}, err
	}
	if a.status == http.StatusOK {
		c.reported = true
		return netip.Addr{}, failed(cureHooks, "a hook without the hook key is taken: anybody may report")
	}
	if err := a.must(http.StatusUnauthorized, "a hook without the hook key"); err != nil {
		return netip.Addr{}, err
	}
	if m := seenAs.FindSubmatch(a.body); m != nil {
		if seen, err := netip.ParseAddr(strings.TrimRight(string(m[1]), ".:")); err == nil {
			return seen.Unmap(), nil
		}
	}
	return netip.Addr{}, failed(curePaths, "the refusal of a hook does not name the caller's address: another program answers there")
}

// addressProblem says why seen is not the address of a client that connects from local to remote,
// or "". An address translated in between is no problem.
func addressProblem(seen, local, remote netip.Addr) string {
	inner := func(a netip.Addr) bool { return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() }
	switch {
	case seen == local:
		return ""
	case seen.IsLoopback(), seen == remote, inner(seen) && !inner(remote):
		return "that is the proxy's own address, which all clients share then"
	}
	return ""
}

// most is how far two clocks may differ.
const most = 5 * time.Second

// clock compares the clock of the server with that of this machine.
func (c *checker) clock(ctx context.Context) (string, error) {
	before := c.Now()
	a, err := c.call(ctx, http.MethodGet, "/v1/info", nil)
	if err != nil {
		return "", err
	}
	after := c.Now()
	var info struct{ Now int64 }
	server, grain := time.Time{}, time.Duration(0)
	if a.status == http.StatusOK && json.Unmarshal(a.body, &info) == nil && info.Now > 0 {
		server = time.UnixMilli(info.Now)
	} else if server, err = http.ParseTime(a.head.Get("Date")); err != nil {
		return "", skip("no answer has a time: /v1/info is not led here and there is no Date")
	} else {
		grain = time.Second
	}
	off := time.Duration(0)
	switch {
	case server.Before(before.Add(-grain)):
		off = server.Sub(before)
	case server.After(after):
		off = server.Sub(after)
	}
	if off < -most || off > most {
		way := "ahead of"
		if off < 0 {
			way = "behind"
		}
		return "", failed(cureClock, "the server's clock is %v %s this machine's", off.Abs().Round(time.Second/10), way)
	}
	return fmt.Sprintf("the server's clock and this machine's differ by %v at most", (off.Abs() + after.Sub(before) + grain).Round(time.Millisecond/10)), nil
}

// native queries through /v1, and with a wrong key.
func (c *checker) native(ctx context.Context) (string, error) {
	if c.AppKey == "" {
		return "", skip("the app key is not set")
	}
	const path = "/v1/peers/query"
	body := encode(map[string]any{"peers": []string{c.peer}})
	a, err := c.call(ctx, http.MethodPost, path, body, c.appKey())
	if err != nil {
		return "", err
	}
	if err := a.must(http.StatusOK, path); err != nil {
		return "", err
	}
	var answer struct {
		Peers []struct{ Peer, Status string }
	}
	if json.Unmarshal(a.body, &answer) != nil || len(answer.Peers) != 1 || answer.Peers[0].Peer != c.peer {
		return "", failed(curePaths, "%s is not answered as rollcall does, with one peer for each id", path)
	}
	a, err = c.call(ctx, http.MethodPost, path, body, key{"X-LC-Key", "wrong-" + c.peer})
	if err != nil {
		return "", err
	}
	if err := a.must(http.StatusUnauthorized, path+" with a wrong key"); err != nil {
		return "", err
	}
	return "POST /v1/peers/query is answered; present and absent on /v1/socket count", c.presentOnce(ctx)
}

// cleanUp ends and erases the probe.
func (c *checker) cleanUp(ctx context.Context) (string, error) {
	safe := c.secrets() == nil
	if c.MasterKey != "" && safe {
		a, err := c.call(ctx, http.MethodDelete, "/v1/peer?id="+url.QueryEscape(c.peer), nil, c.masterKey())
		if err != nil {
			return "", err
		}
		if a.status == http.StatusOK {
			return "the probe is erased", nil
		}
	}
	if c.HookKey != "" && safe {
		a, err := c.hook(ctx, "_clientOffline", c.appKey(), c.hookKey())
		if err != nil {
			return "", err
		}
		if err := a.must(http.StatusOK, "_clientOffline"); err != nil {
			return "", err
		}
	}
	if got, err := c.ask(ctx, functions+"getOnOffStatus"); err == nil && got == "1" {
		return "", failed(cureProbe, "%s is still shown online", c.peer)
	}
	return c.peer + " is offline and remembered as long as others; with the master key, and /v1 led here, it is erased", nil
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // texts and numbers
		panic(err)
	}
	return b
}
