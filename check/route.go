package check

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"net/url"
)

// route asks where sockets go, as the SDKs do, and whether that can be reached from here.
func (c *checker) route(ctx context.Context) (string, error) {
	path := "/v1/route?appId=" + url.QueryEscape(c.App)
	if c.base.Scheme == "https" {
		path += "&secure=1"
	}
	a, err := c.call(ctx, http.MethodGet, path, nil)
	if err != nil {
		return "", err
	}
	if err := a.must(http.StatusOK, "/v1/route"); err != nil {
		return "", err
	}
	var answer struct{ Server string }
	if json.Unmarshal(a.body, &answer) != nil || answer.Server == "" {
		return "", failed(curePaths, "/v1/route is not answered with a server")
	}
	u, err := url.Parse(answer.Server)
	if err != nil || u.Scheme != "ws" && u.Scheme != "wss" || u.Hostname() == "" || u.User != nil {
		return "", failed(cureRoute, "/v1/route names %s, which is no address of a socket", plain(answer.Server))
	}
	if why := c.routeProblem(u); why != "" {
		return "", failed(cureRoute, "/v1/route names %s: %s", plain(answer.Server), why)
	}
	if u.Host != c.base.Host {
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		host := u.Host
		if u.Port() == "" {
			host = net.JoinHostPort(u.Hostname(), map[string]string{"ws": "80", "wss": "443"}[u.Scheme])
		}
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", host)
		if err != nil {
			return "", failed(cureRoute, "/v1/route names %s, which cannot be reached: %v", plain(answer.Server), reason(err))
		}
		_ = conn.Close()
	}
	c.rtm = answer.Server
	return "sockets are led to " + plain(answer.Server), nil
}

// routeProblem says why clients cannot go where the route leads, or "".
func (c *checker) routeProblem(u *url.URL) string {
	if c.base.Scheme == "https" && u.Scheme == "ws" {
		return "the proxy terminates TLS, and rollcall does not know of it"
	}
	if u.Hostname() == c.base.Hostname() {
		return ""
	}
	ip, err := netip.ParseAddr(u.Hostname())
	switch {
	case err != nil && u.Hostname() == "localhost", err == nil && (ip.IsLoopback() || ip.IsUnspecified()):
		return "that is each client itself"
	case err == nil && ip.IsPrivate() && !c.remote.IsPrivate():
		return "that is reached from within your network only"
	}
	return ""
}
