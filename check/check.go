package check

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A Config says what is checked. URL and App are needed.
type Config struct {
	URL string // https://host or http://host, with a path where the calls lie below one
	App string
	// The keys; what needs a key that is missing is skipped.
	AppKey, MasterKey, HookKey string
	// TokenSecret makes the user token that a server may want beside the app key.
	TokenSecret string
	// Hold is how long a socket and a stream must stay open without a change.
	Hold time.Duration
	// Only names the checks to run; empty is all.
	Only []string
	// Now is the clock of this machine.
	Now func() time.Time
}

// How a check ends.
const (
	OK      = "ok"
	Failed  = "failed"
	Skipped = "skipped"
)

// A Result is what came of one check.
type Result struct {
	Name   string `json:"name"`
	Result string `json:"result"`
	Text   string `json:"text"`           // what was found, or why it failed or was skipped
	Cure   string `json:"cure,omitempty"` // of one that failed: a heading of the documentation
}

// A Report is what came of all checks.
type Report struct {
	URL    string   `json:"url"`
	OK     bool     `json:"ok"` // none failed
	Checks []Result `json:"checks"`
}

// ErrConfig: a [Config] that cannot be used.
var ErrConfig = errors.New("wrong settings of a check")

// page is where the cures stand.
const page = "docs/check.md"

// A failure is the error of a check that failed.
type failure struct{ cure, text string }

func (f *failure) Error() string { return f.text }

func failed(cure, format string, args ...any) error {
	return &failure{cure, fmt.Sprintf(format, args...)}
}

// A skip is the error of a check that could not be made.
type skip string

func (s skip) Error() string { return string(s) }

// checks are all checks, in order: what one finds out the later ones use.
var checks = []struct {
	name string
	run  func(*checker, context.Context) (string, error)
}{
	{"connect", (*checker).connect},
	{"tls", (*checker).tls},
	{"function", (*checker).function},
	{"body", (*checker).body},
	{"hooks", (*checker).hooks},
	{"address", (*checker).address},
	{"clock", (*checker).clock},
	{"route", (*checker).route},
	{"socket", (*checker).socket},
	{"native", (*checker).native},
	{"stream", (*checker).stream},
	{"hold", (*checker).hold},
}

// Names returns the names of the checks, in order.
func Names() (names []string) {
	for _, c := range checks {
		names = append(names, c.name)
	}
	return names
}

// cleanUp names the result of the last step, which is always done.
const cleanUp = "clean up"

// within bounds each step with the server; tests shorten it.
var within = 10 * time.Second

// A checker is one run.
type checker struct {
	Config
	base   *url.URL
	client http.Client
	peer   string

	local, remote netip.Addr // of the connection
	trusted       bool       // the connection may carry keys
	proxied       bool       // a proxy named itself in an answer
	answered      bool       // getOnOffStatus was
	reported      bool       // the peer has been reported
	rtm           string     // where the sockets of LeanCloud's SDKs go
	signs         bool       // logins have to be signed
	asksByToken   bool       // the app key is not enough to ask
}

// Run runs the checks of cfg and calls each with every result as it comes. It returns an error
// matching [ErrConfig] when it cannot begin. When ctx ends, the check under way fails and the rest
// is skipped; what was reported is ended all the same.
func Run(ctx context.Context, cfg Config, each func(Result)) (Report, error) {
	c, err := newChecker(cfg)
	if err != nil {
		return Report{}, err
	}
	defer c.client.CloseIdleConnections()
	report := Report{URL: cfg.URL, OK: true}
	add := func(r Result) {
		report.OK = report.OK && r.Result != Failed
		report.Checks = append(report.Checks, r)
		each(r)
	}
	why := ""
	for _, check := range checks {
		if len(c.Only) > 0 && !slices.Contains(c.Only, check.name) && check.name != "connect" && check.name != "tls" {
			continue
		}
		if why != "" {
			add(Result{Name: check.name, Result: Skipped, Text: why})
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, 6*within+2*c.Hold)
		r := resultOf(check.name, func() (string, error) { return check.run(c, bounded) })
		cancel()
		add(r)
		switch {
		case ctx.Err() != nil:
			why = "interrupted"
		case check.name == "connect" && r.Result == Failed:
			why = "there is no connection"
		case check.name == "tls" && r.Result == Failed && !c.trusted:
			why = "no key is sent over a connection whose certificate is not valid"
		case check.name == "tls":
			c.learn(ctx)
		}
	}
	if c.reported {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
		defer cancel()
		add(resultOf(cleanUp, func() (string, error) { return c.cleanUp(last) }))
	}
	return report, nil
}

func newChecker(cfg Config) (*checker, error) {
	u, err := url.Parse(cfg.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%w: the URL is written as https://im.example.com", ErrConfig)
	case cfg.App == "":
		return nil, fmt.Errorf("%w: the app id is missing", ErrConfig)
	case cfg.Hold < 0:
		return nil, fmt.Errorf("%w: the time to hold is less than 0", ErrConfig)
	}
	for _, name := range cfg.Only {
		if !slices.Contains(Names(), name) {
			return nil, fmt.Errorf("%w: there is no check %.40q; there are %s", ErrConfig, name, strings.Join(Names(), ", "))
		}
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	var random [6]byte
	_, _ = rand.Read(random[:]) // never fails
	c := &checker{Config: cfg, base: u, peer: "rollcall-check-" + hex.EncodeToString(random[:])}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.client = newClient()
	return c, nil
}

func resultOf(name string, run func() (string, error)) Result {
	text, err := run()
	var f *failure
	var s skip
	switch {
	case err == nil:
		return Result{Name: name, Result: OK, Text: text}
	case errors.As(err, &s):
		return Result{Name: name, Result: Skipped, Text: string(s)}
	case errors.As(err, &f):
		return Result{Name: name, Result: Failed, Text: f.text, Cure: page + "#" + f.cure}
	}
	return Result{Name: name, Result: Failed, Text: err.Error(), Cure: page + "#" + cureNoAnswer}
}

// secrets returns why the master key and the hook key may not be sent, or nil.
func (c *checker) secrets() error {
	if c.base.Scheme == "http" && !c.remote.IsLoopback() {
		return skip("the hook key and the master key are not sent over http")
	}
	return nil
}
