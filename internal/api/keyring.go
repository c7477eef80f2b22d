package api

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"rollcall/presence"
)

// ErrApps: the list of apps cannot be used.
var ErrApps = errors.New("unusable list of apps")

// A Keyring holds the apps of this server. [Keyring.Replace] changes them; a check sees the apps
// before or after it, never between.
type Keyring struct {
	set   atomic.Pointer[keyset]
	decoy *ring

	mu   sync.Mutex // of Replace
	log  *slog.Logger
	uses map[presence.AppID]*oldUses // of all apps that there have been
}

// A keyset is the apps at one time.
type keyset struct {
	rings    map[presence.AppID]*ring
	apps     []*App
	number   uint64
	rotating bool // an app has an old key
}

// A ring is an app with its secrets made ready for comparing.
type ring struct {
	app                        *App
	key, master, hook, android secret
}

// A secret is a key and its hash, and the old key beside it; an unset one has the hash of random
// bytes.
type secret struct {
	text, oldText string
	hash, oldHash [sha256.Size]byte
	kind          OldKey
}

func newSecret(text, old string, kind OldKey) secret {
	hash := func(text string) [sha256.Size]byte {
		if text == "" {
			text = rand.Text()
		}
		return sha256.Sum256([]byte(text))
	}
	return secret{text: text, oldText: old, hash: hash(text), oldHash: hash(old), kind: kind}
}

// equal reports whether hash is that of the secret, or of the old one beside it.
func (s *secret) equal(hash *[sha256.Size]byte) (same, old bool) {
	same = subtle.ConstantTimeCompare(s.hash[:], hash[:]) == 1 && s.text != ""
	old = subtle.ConstantTimeCompare(s.oldHash[:], hash[:]) == 1 && s.oldText != ""
	return same || old, old && !same
}

func newRing(app *App) *ring {
	return &ring{
		app: app, key: newSecret(app.Key, app.Old.Key, OldAppKey), master: newSecret(app.MasterKey, app.Old.MasterKey, OldMasterKey),
		hook: newSecret(app.HookKey, app.Old.HookKey, OldHookKey), android: newSecret(app.AndroidKey, app.Old.AndroidKey, OldAndroidKey),
	}
}

// NewKeyring returns a keyring of apps. Ids must be given and differ, and no app may use one secret
// for two purposes.
func NewKeyring(apps []App) (*Keyring, error) { return NewLoggedKeyring(apps, nil) }

// NewLoggedKeyring is NewKeyring for a keyring that logs the use of old keys, each at most once an
// hour.
func NewLoggedKeyring(apps []App, log *slog.Logger) (*Keyring, error) {
	k := &Keyring{log: log, uses: map[presence.AppID]*oldUses{}}
	k.decoy = newRing(&App{
		Key: rand.Text(), MasterKey: rand.Text(), HookKey: rand.Text(), AndroidKey: rand.Text(),
		Old: OldKeys{Key: rand.Text(), MasterKey: rand.Text(), HookKey: rand.Text(), AndroidKey: rand.Text()},
	})
	return k, k.Replace(apps)
}

// Replace puts apps in the place of those before, by the rules of [NewKeyring]. An error changes
// nothing.
func (k *Keyring) Replace(apps []App) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	set := &keyset{rings: make(map[presence.AppID]*ring, len(apps))}
	for i := range apps {
		app := apps[i]
		switch {
		case app.ID == "":
			return fmt.Errorf("%w: app %d has no id", ErrApps, i+1)
		case set.rings[app.ID] != nil:
			return fmt.Errorf("%w: app id %q is given twice", ErrApps, app.ID)
		case !app.masterApart():
			return fmt.Errorf("%w: the master key of app %q is also a key that apps carry", ErrApps, app.ID)
		}
		if k.uses[app.ID] == nil {
			k.uses[app.ID] = newOldUses(app.ID, k.log)
		}
		app.used = k.uses[app.ID]
		set.rotating = set.rotating || app.Old != (OldKeys{})
		set.rings[app.ID] = newRing(&app)
		set.apps = append(set.apps, &app)
	}
	set.number = 1
	if before := k.set.Load(); before != nil {
		set.number = before.number + 1
	}
	k.set.Store(set)
	return nil
}

// Generation numbers the keys: what [Keyring.Check] answered stands while it stays the same. It is
// 0 while an app has an old key, whose every use is counted: then every call is to be checked.
func (k *Keyring) Generation() uint64 {
	set := k.set.Load()
	if set.rotating {
		return 0
	}
	return set.number
}

// masterApart reports whether no master key of a is also a key that apps carry.
func (a *App) masterApart() bool {
	for _, master := range [...]string{a.MasterKey, a.Old.MasterKey} {
		if master != "" && slices.Contains([]string{a.Key, a.AndroidKey, a.Old.Key, a.Old.AndroidKey}, master) {
			return false
		}
	}
	return true
}

// Apps returns the apps in the order they were given.
func (k *Keyring) Apps() []*App { return k.set.Load().apps }

// Lookup returns the app called id, or nil. It checks nothing.
func (k *Keyring) Lookup(id presence.AppID) *App {
	if r := k.set.Load().rings[id]; r != nil {
		return r.app
	}
	return nil
}

// Presented is what a request shows of itself. Empty fields were not presented.
type Presented struct {
	ID presence.AppID
	// "<app key>", "<master key>,master", or the master key for the rights of a client.
	Key       string
	BodyKey   string // as Key, from a text/plain body, where no suffix is understood
	MasterKey string // the master key alone
	Sign      string // "<md5>,<timestamp>[,<suffix>]"
	HookKey   string
	Bearer    string // the master key, as servers send it to the native calls
	UserToken string // see [Gate]; no key is looked for in it
}

// Check returns the app that p speaks for and what it may do; nil and None when nothing presented
// is right.
func (k *Keyring) Check(p Presented) (*App, Rights) {
	r := k.set.Load().rings[p.ID]
	if r == nil {
		r = k.decoy
	}
	rights := r.checkKeys(&p)
	if rights == None && p.Sign != "" {
		rights = r.checkSign(p.Sign)
	}
	if p.HookKey != "" {
		hash := sha256.Sum256([]byte(p.HookKey))
		if rights.Has(Client) && r.right(&r.hook, &hash) {
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
		switch {
		case suffix && r.right(&r.master, &hash):
			rights |= Master
		case !suffix && r.client(&hash):
			rights |= Client
		}
	}
	if p.BodyKey != "" {
		hash := sha256.Sum256([]byte(p.BodyKey))
		if r.client(&hash) {
			rights |= Client
		}
	}
	for _, key := range [...]string{p.MasterKey, p.Bearer} {
		if key == "" {
			continue
		}
		hash := sha256.Sum256([]byte(key))
		if r.right(&r.master, &hash) {
			rights |= Master
		}
	}
	return rights
}

// client reports whether hash is that of a key with the rights of a client. Both keys are compared
// either way.
func (r *ring) client(hash *[sha256.Size]byte) bool {
	key, master := r.right(&r.key, hash), r.right(&r.master, hash)
	return key || master
}

// right reports whether hash is that of s, and counts when it is the old one's.
func (r *ring) right(s *secret, hash *[sha256.Size]byte) bool {
	same, old := s.equal(hash)
	if old {
		r.app.UsedOld(s.kind)
	}
	return same
}

// checkSign checks "<md5 of timestamp and key>,<timestamp>[,<suffix>]". The age of the timestamp is
// not judged: SDKs send milliseconds or seconds, and the clocks of phones are wrong.
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
	var got [md5.Size]byte
	if _, err := hex.Decode(got[:], []byte(sum)); err != nil {
		return None
	}
	made := func(text string) bool {
		var room [128]byte
		want := md5.Sum(append(append(room[:0], stamp...), text...))
		return subtle.ConstantTimeCompare(want[:], got[:]) == 1 && text != ""
	}
	switch {
	case made(key.text):
	case made(key.oldText):
		r.app.UsedOld(key.kind)
	default:
		return None
	}
	return rights
}
