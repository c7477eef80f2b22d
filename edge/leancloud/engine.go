package leancloud

import (
	"fmt"
	"slices"
	"strings"

	"rollcall/internal/configload"
)

// EngineKeys are the variables of LeanEngine's environment that hold keys of an app, the same by
// names of rollcall's own, and the settings of an app they are for.
var EngineKeys = []struct{ Variable, Own, Setting string }{
	{"LEANCLOUD_APP_KEY", "ROLLCALL_APP_KEY", "app_key"},
	{"LEANCLOUD_APP_MASTER_KEY", "ROLLCALL_MASTER_KEY", "master_key"},
	{"LEANCLOUD_APP_HOOK_KEY", "ROLLCALL_HOOK_KEY", "hook_key"},
	{"LEANCLOUD_APP_ANDX_KEY", "ROLLCALL_ANDROID_KEY", "android_key"},
	// LeanCloud has none; in keys.env it stands among the others.
	{"LEANCLOUD_APP_TOKEN_SECRET", "ROLLCALL_TOKEN_SECRET", "token_secret"},
}

// The suffixes of the old key beside a key, in its variable and its setting.
const (
	OldVariable = "_OLD"
	OldSetting  = "_old"
)

// EngineApp is the variable of LeanEngine's environment that holds the id of an app, OwnApp the
// same by rollcall's own name.
const (
	EngineApp = "LEANCLOUD_APP_ID"
	OwnApp    = "ROLLCALL_APP_ID"
)

// OwnNames returns the variables of an app by rollcall's own names.
func OwnNames() []string {
	names := []string{OwnApp}
	for _, k := range EngineKeys {
		names = append(names, k.Own, k.Own+OldVariable)
	}
	return names
}

// LoadEngine has l take what LeanEngine's variables in environ say: the port, the app, which is the
// one of that id or one more, and the Redis, when there is exactly one and the variable named store
// is not set.
func LoadEngine(l *configload.Loader, environ []string, store string) {
	if port := Variable(environ, "LEANCLOUD_APP_PORT"); port != "" {
		l.Set("listen", ":"+port, "LEANCLOUD_APP_PORT")
	}
	if Variable(environ, store) == "" {
		loadRedis(l, environ)
	}
	loadApp(l, environ)
}

// An appKey is a key of an app in the environment.
type appKey struct{ variable, setting string }

// loadApp takes the app of LeanEngine's names, and over it the one of rollcall's own, which may be
// the same.
func loadApp(l *configload.Loader, environ []string) {
	var engine, own []appKey
	for _, k := range EngineKeys {
		engine = append(engine, appKey{k.Variable, k.Setting}, appKey{k.Variable + OldVariable, k.Setting + OldSetting})
		own = append(own, appKey{k.Own, k.Setting}, appKey{k.Own + OldVariable, k.Setting + OldSetting})
	}
	loadKeys(l, environ, EngineApp, engine)
	loadKeys(l, environ, OwnApp, own)
}

// loadKeys takes the app that the variable named id names, with keys.
func loadKeys(l *configload.Loader, environ []string, id string, keys []appKey) {
	app := Variable(environ, id)
	section := ""
	if app != "" {
		section = l.Entry("apps", "id", app, id)
	}
	for _, k := range keys {
		value := Variable(environ, k.variable)
		if value == "" {
			continue
		}
		if app == "" {
			l.Mark("apps", k.variable)
			l.Problem("apps", k.variable+" is set but "+id+" is not; a key belongs to an app")
			return
		}
		l.Set(section+"."+k.setting, value, k.variable)
	}
}

// redisPrefix begins the variable of each Redis that LeanEngine has bound to the app.
const redisPrefix = "REDIS_URL_"

func loadRedis(l *configload.Loader, environ []string) {
	found := map[string]string{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, redisPrefix) && value != "" {
			found[name] = value
		}
	}
	if len(found) > 1 {
		l.Warn("store", fmt.Sprintf("%d variables REDIS_URL_… are set and none is taken; name one by --store", len(found)))
		return
	}
	for name, value := range found {
		l.Set("store", value, name)
	}
}

// NamedRedis returns the address of the store, which is in a variable of environ when store is the
// name of one, so that no password has to be written on a command line. A variable that is not set
// is a problem of l.
func NamedRedis(l *configload.Loader, environ []string, store string) string {
	if !strings.HasPrefix(store, redisPrefix) {
		return store
	}
	address := Variable(environ, store)
	if address == "" {
		l.Problem("store", fmt.Sprintf("the variable %.60s is not set", store))
	}
	return address
}

// Variable returns the value of the variable called name, which is the last of that name in
// environ; "" when there is none.
func Variable(environ []string, name string) string {
	for _, pair := range slices.Backward(environ) {
		if n, v, _ := strings.Cut(pair, "="); n == name {
			return v
		}
	}
	return ""
}
