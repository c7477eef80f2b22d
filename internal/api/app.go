package api

import (
	"cmp"
	"log/slog"

	"rollcall/internal/api/usertoken"
	"rollcall/presence"
)

// An App is a tenant and its secrets. A secret left empty is not configured, and whatever needs it
// is refused.
type App struct {
	ID         presence.AppID
	Key        string // shipped in apps: what clients may ask
	MasterKey  string // servers only
	HookKey    string // the IM service
	AndroidKey string // signatures of Android apps built with a native key
	Old        OldKeys
	Tokens     *usertoken.Keys // of user tokens; nil: the app has none

	used *oldUses // counts where an old key was right; nil: nothing is counted
}

// OldKeys are the second valid keys of an app while its keys are rotated. One is right wherever the
// key of its name is, and signs nothing.
type OldKeys struct{ Key, MasterKey, HookKey, AndroidKey string }

// Secret returns what the server seals and signs its own tickets and tokens with: the most secret
// key that the app has, so that every node that knows the app takes what any other made.
func (a *App) Secret() string { return cmp.Or(a.MasterKey, a.HookKey, a.Key) }

// oldSecret returns the old key beside [App.Secret]: what it sealed and signed is good too. "" when
// there is none.
func (a *App) oldSecret() (text string, kind OldKey) {
	switch {
	case a.MasterKey != "":
		return a.Old.MasterKey, OldMasterKey
	case a.HookKey != "":
		return a.Old.HookKey, OldHookKey
	}
	return a.Old.Key, OldAppKey
}

// Secrets returns [App.Secret] and the old key beside it, "" when there is none.
func (a *App) Secrets() (secret, old string) {
	old, _ = a.oldSecret()
	return a.Secret(), old
}

// UsedOld counts a call that the old key of kind let through.
func (a *App) UsedOld(kind OldKey) { a.used.add(kind) }

// String returns the id: an App never prints its secrets.
func (a App) String() string { return "app " + string(a.ID) }

// GoString is String, for %#v.
func (a App) GoString() string { return a.String() }

// LogValue is the id, for slog.
func (a App) LogValue() slog.Value { return slog.StringValue(string(a.ID)) }

// MarshalText is the id, for encoders that walk over fields.
func (a App) MarshalText() ([]byte, error) { return []byte(a.ID), nil }
