package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"rollcall/edge/changeout"
	"rollcall/internal/configload"
	"rollcall/internal/outbox"
	"rollcall/presence"
)

// A Receiver is a server that changes are posted to. docs/changes-out.md says what it gets.
type Receiver struct {
	// ID names the receiver in the store, in metrics and in the log: 1 to 64 ASCII letters, digits,
	// "-", "_" and ".". One of another id is sent to list everything first.
	ID string
	// App is the id of the app. It may be left out when there is one.
	App string
	// URL is the address that changes are posted to, such as https://app.example.com/presence.
	URL string
	// Secret signs the calls, as a hook key signs POST /v1/events: at least 16 bytes.
	Secret Secret `config:",secret"`
	// SecretOld signs the calls, too, while secret is being replaced.
	SecretOld Secret `config:",secret"`
	// Only are the statuses that are sent: online, offline, unknown; none is all.
	Only []string
	// Timeout is how long one call may take, its answer included; 0 takes 5s.
	Timeout time.Duration `range:"0s,100ms..1m"`
	// GiveUp is how old changes that wait may get; then the receiver must list again. 0 takes 24h.
	GiveUp time.Duration `range:"0s,1m..7d"`
	// MaxQueue is how large what waits may get, in memory and in the journal; then the receiver
	// must list again. 0 takes 64MiB, some 170,000 changes.
	MaxQueue int `config:",bytes" range:"0,1MiB..16GiB"`
}

// The defaults of a receiver.
const (
	receiverTimeout = 5 * time.Second
	receiverGiveUp  = 24 * time.Hour
	receiverQueue   = 64 << 20
)

// statuses are those that a receiver may be limited to.
var statuses = []presence.Status{presence.Online, presence.Offline, presence.Unknown}

// Validate returns every mistake in r, joined; each begins with the key of its setting.
func (r *Receiver) Validate() error {
	var f configload.Faults
	f.When(r.ID == "", "id is missing; it names the receiver in metrics, and what it was sent in the store")
	if err := presence.CheckApp(presence.AppID(r.ID)); r.ID != "" && err != nil {
		f.Add(fmt.Errorf("id is %.80q; it may hold letters, digits, - _ and . only", r.ID))
	}
	f.When(len(r.ID) > maxSourceID, "id has %d bytes, more than %d", len(r.ID), maxSourceID)
	f.Add(checkReceiverURL(r.URL))
	f.When(r.Secret == "", "secret is missing; by it the receiver verifies the calls")
	f.When(r.Secret != "" && len(r.Secret) < MinSecret, "secret has %d bytes; it has at least %d", len(r.Secret), MinSecret)
	f.When(r.SecretOld != "" && r.SecretOld == r.Secret, "secret_old is the same as secret")
	for i, text := range r.Only {
		_, ok := statusOf(text)
		f.When(!ok, "only has %.40q; there are online, offline and unknown", text)
		f.When(ok && slices.Contains(r.Only[:i], text), "only has %q twice", text)
	}
	return f.Err()
}

func checkReceiverURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return errors.New("url is missing; it is where changes are posted")
	case err == nil && u.User != nil:
		return errors.New("url has a user in it; calls are proved by their signature")
	case strings.ContainsAny(text, "?@"): // it may hold a secret, which no error has
		return errors.New("url is not an http:// or https:// URL without a query")
	case !outbox.IsAddress(text):
		return fmt.Errorf("url is %.80q, not an http:// or https:// URL without a query", text)
	}
	return nil
}

func statusOf(text string) (presence.Status, bool) {
	i := slices.IndexFunc(statuses, func(s presence.Status) bool { return s.String() == text })
	if i < 0 {
		return 0, false
	}
	return statuses[i], true
}

// Receivers returns the receivers of c, which has been checked, for the apps that there are.
func (c *Config) Receivers(apps []presence.AppID) ([]changeout.Receiver, error) {
	var list []changeout.Receiver
	for i := range c.Changes {
		r := &c.Changes[i]
		app, err := appOf(fmt.Sprintf("changes[%d]", i), r.App, apps)
		if err != nil {
			return nil, err
		}
		out := changeout.Receiver{
			App: app, ID: r.ID, URL: r.URL, Secret: r.Secret.Reveal(), SecretOld: r.SecretOld.Reveal(),
			Timeout: cmp.Or(r.Timeout, receiverTimeout), GiveUp: cmp.Or(r.GiveUp, receiverGiveUp), MaxBytes: cmp.Or(r.MaxQueue, receiverQueue),
		}
		for _, text := range r.Only {
			status, _ := statusOf(text)
			out.Only = append(out.Only, status)
		}
		list = append(list, out)
	}
	return list, nil
}

// appOf returns the app that the entry key of a list names: the only one when it names none.
func appOf(key, id string, apps []presence.AppID) (presence.AppID, error) {
	switch {
	case id == "" && len(apps) != 1:
		return "", fmt.Errorf("%s.app is missing, and there are %d apps", key, len(apps))
	case id == "":
		return apps[0], nil
	case !slices.Contains(apps, presence.AppID(id)):
		return "", fmt.Errorf("%s.app is %.80q, which is none of the apps", key, id)
	}
	return presence.AppID(id), nil
}

// checkReceivers adds what is wrong with the receivers of changes one by one and together.
func checkReceivers(l *configload.Loader, cfg *Config) {
	first := map[string]int{}
	for i := range cfg.Changes {
		r := &cfg.Changes[i]
		section := fmt.Sprintf("changes[%d]", i)
		l.Check(section, r.Validate())
		if j, ok := first[r.ID]; ok && r.ID != "" {
			l.Problem(section+".id", fmt.Sprintf("the id is taken by changes[%d] already", j))
		}
		first[r.ID] = i
		if len(cfg.Apps) > 0 { // else an app will be made, or is kept
			checkApp(l, section, r.App, cfg.Apps)
		}
		if strings.HasPrefix(r.URL, "http://") && r.Validate() == nil && !local(r.URL) {
			l.Warn(section+".url", section+".url is not https: who is online can be read on the way")
		}
	}
}

// local reports whether address names this machine.
func local(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Hostname() == "localhost" || strings.HasPrefix(u.Hostname(), "127.") || u.Hostname() == "::1")
}

// checkApp adds what is wrong with the app that the entry at section of a list names.
func checkApp(l *configload.Loader, section, id string, apps []App) {
	known := slices.ContainsFunc(apps, func(a App) bool { return a.ID == id })
	switch {
	case id == "" && len(apps) > 1:
		l.Problem(section, "app is missing, and there are several apps")
	case id != "" && !known:
		l.Problem(section+".app", fmt.Sprintf("app is %.80q, which is none of the apps", id))
	}
}
