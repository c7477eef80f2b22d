package api

import (
	"log/slog"
	"sync/atomic"
	"time"

	"rollcall/internal/lograte"
	"rollcall/presence"
)

// An OldKey is a kind of key in [OldKeys], or the old secret of user tokens.
type OldKey uint8

// The kinds.
const (
	OldAppKey OldKey = iota
	OldMasterKey
	OldHookKey
	OldAndroidKey
	OldTokenSecret
	oldKeys
)

// String returns the setting of the key.
func (k OldKey) String() string {
	return [oldKeys]string{"app_key_old", "master_key_old", "hook_key_old", "android_key_old", "token_secret_old"}[k]
}

// oldUses counts what the old keys of one app have let through since the start of the process.
type oldUses struct {
	app   presence.AppID
	log   *slog.Logger // nil: none
	kinds [oldKeys]struct {
		count atomic.Int64
		line  lograte.Line
	}
}

func newOldUses(app presence.AppID, log *slog.Logger) *oldUses {
	u := &oldUses{app: app, log: log}
	for i := range u.kinds {
		u.kinds[i].line.Every = time.Hour.Milliseconds()
	}
	return u
}

func (u *oldUses) add(kind OldKey) {
	if u == nil {
		return
	}
	k := &u.kinds[kind]
	k.count.Add(1)
	if u.log == nil {
		return
	}
	if unsaid, due := k.line.Due(time.Now().UnixMilli()); due {
		u.log.Info("old key used", "app", u.app, "setting", kind.String(), "unsaid", unsaid)
	}
}

// OldUse is how often the old key of a kind let a call of an app through.
type OldUse struct {
	App   presence.AppID
	Key   OldKey
	Count int64
}

// OldUses returns the count of every old key that is configured.
func (k *Keyring) OldUses() []OldUse {
	var uses []OldUse
	for _, app := range k.Apps() {
		olds := [oldKeys]string{app.Old.Key, app.Old.MasterKey, app.Old.HookKey, app.Old.AndroidKey}
		if app.Tokens != nil {
			olds[OldTokenSecret] = app.Tokens.OldSecret
		}
		for kind, text := range olds {
			if text != "" {
				uses = append(uses, OldUse{app.ID, OldKey(kind), app.used.kinds[kind].count.Load()})
			}
		}
	}
	return uses
}
