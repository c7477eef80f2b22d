package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/all"
	"rollcall/internal/configload"
)

// Reconcile is how a product is asked who is online. It is in force as soon as one of its settings
// is written.
type Reconcile struct {
	// Every is how often all peers of the source are asked about; 0 takes 1h.
	Every time.Duration `range:"0s,1m..24h"`
	// Rate is how many calls a second the product gets at most; 0 takes what the kind allows.
	Rate float64 `range:"0,0.01..1000"`
	// Lag is how old an answer may be by itself, and how late events may come; 0 takes that of the
	// kind.
	Lag time.Duration `range:"0s,1s..10m"`
	// Confirm is how far apart the two answers are that take a peer offline, at least; 0 takes 15s.
	Confirm time.Duration `range:"0s,1s..10m"`
	// Brake is how many of the peers that were asked about may turn by the answers of one round,
	// and at least 100 may: beyond that nothing more is changed, and an alarm is raised. 0% takes
	// 2%.
	Brake Percent `range:"0%,0.1%..50%"`
	// URL is the address of the product's API, or that of a backend which answers for a product
	// that cannot be asked; docs/sources.md has its form for each kind.
	URL string `config:"url"`
	// KeyID is the name of the key, where the product names its keys.
	KeyID string
	// Key is what proves to the product who asks.
	Key Secret `config:",secret"`
	// KeyOld is sent when the product refuses key, while that is being replaced.
	KeyOld Secret `config:",secret"`
	// User is the administrator in whose name the product is asked, where it wants one.
	User string
	// Domain is that of the peers, where it is a part of their names at the product.
	Domain string
}

// Percent is a share, written as 2%.
type Percent float64

// UnmarshalText reads a number and the sign %.
func (p *Percent) UnmarshalText(b []byte) error {
	digits, signed := strings.CutSuffix(string(b), "%")
	f, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if !signed || err != nil || f != f {
		return fmt.Errorf("%.40q is not a share; write 2%%", b)
	}
	*p = Percent(f)
	return nil
}

// MarshalText writes p as it is read.
func (p Percent) MarshalText() ([]byte, error) {
	return []byte(strconv.FormatFloat(float64(p), 'f', -1, 64) + "%"), nil
}

// The defaults of a product that is asked.
const (
	reconcileEvery   = time.Hour
	reconcileRate    = 5
	reconcileLag     = 10 * time.Second
	reconcileConfirm = 15 * time.Second
	reconcileBrake   = 2
)

func (r *Reconcile) set() bool { return *r != Reconcile{} }

// validate returns what is wrong with r, which is that of s, beyond its ranges.
func (r *Reconcile) validate(s *webhook.Source) error {
	if !r.set() {
		return nil
	}
	var f configload.Faults
	f.Add(s.Reconcile.Auditor.CheckAsk(s))
	f.When(r.KeyOld != "" && r.Key == "", "reconcile.key_old is set and reconcile.key is not; the only key goes into key")
	f.When(r.KeyOld != "" && r.KeyOld == r.Key, "reconcile.key_old is the same as reconcile.key")
	f.Add(checkURL(r.URL))
	return f.Err()
}

// checkURL returns what is wrong with the address of a product; kinds say whether they need one.
// The text does not hold what may be a password.
func checkURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Opaque != "":
		return errors.New("reconcile.url is no address such as https://im.example.com/online")
	case u.User != nil:
		return errors.New("reconcile.url has a name or a password in it; a key goes into reconcile.key")
	case u.Fragment != "":
		return errors.New("reconcile.url has a # in it, which no call can carry")
	}
	return nil
}

// webhook returns r with the defaults of kind; the zero value when r is not set.
func (r *Reconcile) webhook(kind webhook.Kind) webhook.Reconcile {
	if !r.set() {
		return webhook.Reconcile{}
	}
	a := all.Auditor(kind)
	limits := a.Limits()
	return webhook.Reconcile{
		Every: cmp.Or(r.Every, reconcileEvery), Rate: cmp.Or(r.Rate, limits.Rate, reconcileRate), Lag: cmp.Or(r.Lag, limits.Lag, reconcileLag),
		Confirm: cmp.Or(r.Confirm, reconcileConfirm), Brake: float64(cmp.Or(r.Brake, reconcileBrake)) / 100,
		Auditor: a, URL: r.URL, KeyID: r.KeyID, Key: r.Key.Reveal(), KeyOld: r.KeyOld.Reveal(), User: r.User, Domain: r.Domain, Passes: new(webhook.Passes),
	}
}

// An AskedSource says whether a source can be asked.
type AskedSource struct {
	App   string `json:"app,omitempty"`
	ID    string `json:"id"`
	Kind  string `json:"kind"`
	Asked bool   `json:"asked"`
	Why   string `json:"why,omitempty"` // not
}

// String is a line for people.
func (a AskedSource) String() string {
	if a.Asked {
		return fmt.Sprintf("source %s (%s) is asked", a.ID, a.Kind)
	}
	return fmt.Sprintf("source %s (%s) is not asked, so what its events leave out stands until a lease ends: %s", a.ID, a.Kind, a.Why)
}

// Asked says of each source of c, which has been checked, whether its product can be asked.
func (c *Config) Asked() []AskedSource {
	list := make([]AskedSource, 0, len(c.Sources))
	for i := range c.Sources {
		s := &c.Sources[i]
		a := AskedSource{App: s.App, ID: s.ID, Kind: s.Kind, Asked: s.Reconcile.set()}
		_, can := webhook.Find(all.Kinds, s.Kind).(webhook.Auditor)
		switch {
		case a.Asked:
		case can:
			a.Why = "reconcile is not set; docs/sources.md has what " + s.Kind + " wants there"
		default:
			a.Why = s.Kind + " has no call for it; reconcile.url may name a backend of yours that answers in its place"
		}
		list = append(list, a)
	}
	return list
}
