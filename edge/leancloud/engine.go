package leancloud

import (
	"fmt"
	"slices"
	"strings"

	"rollcall/internal/configload"
)

// EngineKeys are the variables of LeanEngine's environment that hold keys of an app, and the settings of an app they are for.
var EngineKeys = []struct{ Variable, Setting string }{
	{"LEANCLOUD_APP_KEY", "app_key"},
	{"LEANCLOUD_APP_MASTER_KEY", "master_key"},
	{"LEANCLOUD_APP_HOOK_KEY", "hook_key"},
	{"LEANCLOUD_APP_ANDX_KEY", "android_key"},
}

// EngineApp is the variable of LeanEngine's environment that holds the id of an app.
const EngineApp = "LEANCLOUD_APP_ID"

// LoadEngine has l take what LeanEngine's variables in environ say: the port, the app, which is the one of that id or one
// more, and the Redis, when there is exactly one and the variable named store is not set.
func LoadEngine(l *configload.Loader, environ []string, store string) {
	if port := Variable(environ, "LEANCLOUD_APP_PORT"); port != "" {
		l.Set("listen", ":"+port, "LEANCLOUD_APP_PORT")
	}
	if Variable(environ, store) == "" {
		loadRedis(l, environ)
	}
	loadApp(l, environ)
}

func loadApp(l *configload.Loader, environ []string) {
	id := Variable(environ, EngineApp)
	for _, k := range EngineKeys {
		value := Variable(environ, k.Variable)
		if value != "" && id == "" {
			l.Mark("apps", k.Variable)
			l.Problem("apps", k.Variable+" is set but LEANCLOUD_APP_ID is not, so nobody knows whose key it is")
			return
		}
	}
	if id == "" {
		return
	}
	section := l.Entry("apps", "id", id, EngineApp)
	for _, k := range EngineKeys {
		if value := Variable(environ, k.Variable); value != "" {
			l.Set(section+"."+k.Setting, value, k.Variable)
		}
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

// NamedRedis returns the address of the store, which is in a variable of environ when store is the name of one, so that no
// password has to be written on a command line. A variable that is not set is a problem of l.
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

// Variable returns the value of the variable called name, which is the last of that name in environ; "" when there is none.
func Variable(environ []string, name string) string {
	for _, pair := range slices.Backward(environ) {
		if n, v, _ := strings.Cut(pair, "="); n == name {
			return v
		}
	}
	return ""
}
