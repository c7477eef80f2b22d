package rollcall

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Config says where the server is and who calls. One of the keys is needed, or Token, or Ticket.
type Config struct {
	// The server's own, such as https://presence.example.com; redirects are not followed.
	URL       string
	App       string // app id
	Key       string // app key: status only
	MasterKey string // master key: servers
	HookKey   string // hook key: reports only

	// Token returns a user token from your server, a JSON Web Token that says which peer the caller
	// is. It is called before the first call, and before each token ends; open sockets are renewed.
	Token func(ctx context.Context) (string, error)
	// Ticket buys a ticket from your server, for a program that has no key. It is called for every
	// stream and socket that is opened, with the peers that it is for.
	Ticket func(ctx context.Context, peers []string) (string, error)
	// Retrying, when it is not nil, is called with every failure of a watch or a presence that is
	// followed by a retry.
	Retrying func(*Error)

	// HTTP connects, with its proxies and its TLS; nil is a client with sane timeouts. Its Timeout
	// and its CheckRedirect are not used: streams are long, and redirects are not followed.
	HTTP *http.Client
}

// A Client speaks with one server.
type Client struct {
	cfg  Config
	base *url.URL
	http *http.Client

	token *userToken // nil: none
}

// New returns a client. It connects to nothing yet.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(strings.TrimRight(cfg.URL, "/"))
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" || base.RawQuery != "" || base.Fragment != "" {
		return nil, &Error{Code: "invalid", Text: fmt.Sprintf("%q is not the address of a server, such as https://presence.example.com", cfg.URL)}
	}
	c := &Client{cfg: cfg, base: base}
	if cfg.Token != nil {
		c.token = &userToken{take: cfg.Token}
	}
	if cfg.HTTP == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.ResponseHeaderTimeout = 30 * time.Second
		cfg.HTTP = &http.Client{Transport: t}
	}
	own := *cfg.HTTP
	own.Timeout = 0
	own.CheckRedirect = func(*http.Request, []*http.Request) error {
		// A redirect would carry the keys along, and turn a POST into a GET.
		return http.ErrUseLastResponse
	}
	c.http = &own
	return c, nil
}

// Close lets idle connections go.
func (c *Client) Close() { c.http.CloseIdleConnections() }
