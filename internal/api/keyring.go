package api

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"rollcall/presence"
)

// ErrApps: the list of apps cannot be used.
var ErrApps = errors.New("unusable list of apps")

// A Keyring holds the apps of this server. It does not change.
type Keyring struct {
	rings map[presence.AppID]*ring
	apps  []*App
	decoy *ring
}

// A ring is an app with its secrets made ready for comparing.
type ring struct {
	app                        *App
	key, master, hook, android secret
}

// A secret is a key and its hash; an unset one has the hash of random bytes.
type secret struct {
	text string
	hash [sha256.Size]byte
}

func newSecret(text string) secret {
	if text == "" {
		return secret{hash: sha256.Sum256([]byte(rand.Text()))}
	}
	return secret{text: text, hash: sha256.Sum256([]byte(text))}
}

func (s *secret) equal(hash *[sha256.Size]byte) bool {
	same := subtle.ConstantTimeCompare(s.hash[:], hash[:]) == 1
	return same && s.text != ""
}

func newRing(app *App) *ring {
	return &ring{
		app: app, key: newSecret(app.Key), master: newSecret(app.MasterKey),
		hook: newSecret(app.HookKey), android: newSecret(app.AndroidKey),
	}
}

// NewKeyring returns a keyring of apps. Ids must be given and differ, and no app may use one secret for two purposes.
func NewKeyring(apps []App) (*Keyring, error) {
	k := &Keyring{rings: make(map[presence.AppID]*ring, len(apps))}
	for i := range apps {
		app := apps[i]
		switch {
		case app.ID == "":
			return nil, fmt.Errorf("%w: app %d has no id", ErrApps, i+1)
		case k.rings[app.ID] != nil:
			return nil, fmt.Errorf("%w: app id %q is given twice", ErrApps, app.ID)
		case app.MasterKey != "" && (app.MasterKey == app.Key || app.MasterKey == app.AndroidKey):
			return nil, fmt.Errorf("%w: the master key of app %q is also a key that apps carry", ErrApps, app.ID)
		}
		k.rings[app.ID] = newRing(&app)
		k.apps = append(k.apps, &app)
	}
	k.decoy = newRing(&App{Key: rand.Text(), MasterKey: rand.Text(), HookKey: rand.Text(), AndroidKey: rand.Text()})
	return k, nil
}

// Apps returns the apps in the order they were given.
func (k *Keyring) Apps() []*App { return k.apps }

// Lookup returns the app called id, or nil. It checks nothing.
func (k *Keyring) Lookup(id presence.AppID) *App {
	if r := k.rings[id]; r != nil {
		return r.app
	}
	return nil
}

// Presented is what a request shows of itself. Empty fields were not presented.
type Presented struct {
	ID        presence.AppID
	Key       string // "<app key>", "<master key>,master", or the master key for the rights of a client
	BodyKey   string // as Key, from a text/plain body, where no suffix is understood
	MasterKey string // the master key alone
	Sign      string // "<md5>,<timestamp>[,<suffix>]"
	HookKey   string
	Bearer    string // the master key, as servers send it to the native calls
}

// Check returns the app that p speaks for and what it may do; nil and None when nothing presented is right.
func (k *Keyring) Check(p Presented) (*App, Rights) {
	r := k.rings[p.ID]
	if r == nil {
		r = k.decoy
	}
	rights := r.checkKeys(&p)
	if rights == None && p.Sign != "" {
		rights = r.checkSign(p.Sign)
	}
	if p.HookKey != "" {
		hash := sha256.Sum256([]byte(p.HookKey))
		if r.hook.equal(&hash) && rights.Has(Client) {
			rights |= Hook
		}
	}
	if rights == None || r == k.decoy {
		return nil, None
	}
	return r.app, rights
}

func (r *ring) checkKeys(p *Presented) (rights Rights) {
	if p.Key != "" {
		key, suffix := strings.CutSuffix(p.Key, ",master")
		hash := sha256.Sum256([]byte(key))
		client, master := r.key.equal(&hash), r.master.equal(&hash)
		switch {
		case suffix && master:
			rights |= Master
		case !suffix && (client || master):
			rights |= Client
		}
	}
	if p.BodyKey != "" {
		hash := sha256.Sum256([]byte(p.BodyKey))
		client, master := r.key.equal(&hash), r.master.equal(&hash)
		if client || master {
			rights |= Client
		}
	}
	for _, key := range [...]string{p.MasterKey, p.Bearer} {
		if key == "" {
			continue
		}
		hash := sha256.Sum256([]byte(key))
		if r.master.equal(&hash) {
			rights |= Master
		}
	}
	return rights
}

// checkSign checks "<md5 of timestamp and key>,<timestamp>[,<suffix>]". The age of the timestamp is not judged: SDKs send
// milliseconds or seconds, and the clocks of phones are wrong.
func (r *ring) checkSign(sign string) Rights {
	sum, rest, _ := strings.Cut(sign, ",")
	stamp, suffix, _ := strings.Cut(rest, ",")
	if stamp == "" || len(sum) != 2*md5.Size {
		return None
	}
	key, rights := &r.key, Client
	switch suffix {
	case "":
	case "master":
		key, rights = &r.master, Master
	case "ax-sig-1":
		key = &r.android
	default:
		return None
	}
	var text [128]byte
	want := md5.Sum(append(append(text[:0], stamp...), key.text...))
	var got [md5.Size]byte
	if _, err := hex.Decode(got[:], []byte(sum)); err != nil {
		return None
	}
	if subtle.ConstantTimeCompare(want[:], got[:]) != 1 || key.text == "" {
		return None
	}
	return rights
}
