package server

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"rollcall/internal/configload"
)

// Prefix begins the environment variable of every setting.
const Prefix = "ROLLCALL_"

// Sources are where settings are written. What stands later counts more: the file, LeanEngine's variables, our own
// variables, flags.
type Sources struct {
	File    string   // a YAML file; empty: none
	Environ []string // as of os.Environ
	Flags   []Flag
}

// A Flag gives Key, such as "log.format", the value written after Name, such as "--log-format".
type Flag struct{ Key, Value, Name string }

// Load returns the configuration that src describes. The error is [configload.Problems] with every mistake, and the
// warnings are what is allowed but worth a look. ctx ends the wait for a file that is a pipe.
func Load(ctx context.Context, src Sources) (cfg Config, warnings configload.Problems, err error) {
	cfg = DefaultConfig()
	l := configload.New(&cfg)
	if src.File != "" {
		l.File(ctx, src.File)
	}
	if port := lookup(src.Environ, "LEANCLOUD_APP_PORT"); port != "" {
		l.Set("listen", ":"+port, "LEANCLOUD_APP_PORT")
	}
	leanRedis(l, src.Environ)
	fileApps := len(cfg.Apps)
	cfg.Apps = leanEngine(l, cfg.Apps, src.Environ)
	l.Env(Prefix, src.Environ, "ROLLCALL_CONFIG")
	for _, f := range src.Flags {
		l.Set(f.Key, f.Value, f.Name)
	}
	namedRedis(l, &cfg, src.Environ)
	l.Finish()
	check(l, &cfg)
	if fileApps > 0 {
		warnOpenFile(l, src.File, cfg.Apps[:fileApps])
	}
	return cfg, l.Warnings(), l.Err()
}

// leanVariables are the keys of an app as LeanEngine's environment names them.
var leanVariables = []struct {
	name, key string
	field     func(*App) *Secret
}{
	{"LEANCLOUD_APP_KEY", "app_key", func(a *App) *Secret { return &a.AppKey }},
	{"LEANCLOUD_APP_MASTER_KEY", "master_key", func(a *App) *Secret { return &a.MasterKey }},
	{"LEANCLOUD_APP_HOOK_KEY", "hook_key", func(a *App) *Secret { return &a.HookKey }},
	{"LEANCLOUD_APP_ANDX_KEY", "android_key", func(a *App) *Secret { return &a.AndroidKey }},
}

// leanEngine takes the app that LeanEngine's variables name: the one of that id in apps, else one more.
func leanEngine(l *configload.Loader, apps []App, environ []string) []App {
	id := lookup(environ, "LEANCLOUD_APP_ID")
	if id == "" {
		for _, v := range leanVariables {
			if lookup(environ, v.name) != "" {
				l.Mark("apps", v.name)
				l.Problem("apps", v.name+" is set but LEANCLOUD_APP_ID is not, so nobody knows whose key it is")
				break
			}
		}
		return apps
	}
	i := slices.IndexFunc(apps, func(a App) bool { return a.ID == id })
	if i < 0 {
		i = len(apps)
		apps = append(apps, App{ID: id})
		l.Mark(fmt.Sprintf("apps[%d]", i), "LEANCLOUD_APP_ID")
		l.Mark(fmt.Sprintf("apps[%d].id", i), "LEANCLOUD_APP_ID")
	}
	for _, v := range leanVariables {
		if value := lookup(environ, v.name); value != "" {
			*v.field(&apps[i]) = Secret(value)
			l.Mark(fmt.Sprintf("apps[%d].%s", i, v.key), v.name)
		}
	}
	return apps
}

// leanRedisPrefix begins the variable of each Redis that LeanEngine has bound to the app.
const leanRedisPrefix = "REDIS_URL_"

// leanRedis takes the Redis that LeanEngine has bound to the app, when there is exactly one and nothing else is said.
func leanRedis(l *configload.Loader, environ []string) {
	found := map[string]string{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, leanRedisPrefix) && value != "" {
			found[name] = value
		}
	}
	if lookup(environ, Prefix+"STORE") != "" {
		return
	}
	if len(found) > 1 {
		l.Warn("store", fmt.Sprintf("%d variables REDIS_URL_… are set and none is taken; name one by --store", len(found)))
		return
	}
	for name, value := range found {
		l.Set("store", value, name)
	}
}

// namedRedis takes the Redis of the variable that the store names instead of an address, so that no password has to be
// written on a command line.
func namedRedis(l *configload.Loader, cfg *Config, environ []string) {
	name := cfg.Store.Reveal()
	if !strings.HasPrefix(name, leanRedisPrefix) {
		return
	}
	cfg.Store = Secret(lookup(environ, name))
	if cfg.Store == "" {
		l.Problem("store", fmt.Sprintf("the variable %.60s is not set", name))
	}
}

func lookup(environ []string, name string) string {
	for _, pair := range slices.Backward(environ) {
		if n, v, _ := strings.Cut(pair, "="); n == name {
			return v
		}
	}
	return ""
}

// check adds what each room finds wrong with its part.
func check(l *configload.Loader, cfg *Config) {
	l.Check("", cfg.Validate())
	l.Check("presence", cfg.Presence.Validate())
	l.Check("embedded", cfg.Embedded.Validate())
	l.Check("leancloud", cfg.LeanCloud.Validate())
	l.Check("gateway", cfg.Gateway.Validate())
	l.Check("rtm", cfg.RTM.Validate())
	l.Check("hooks", cfg.Hooks.Validate())
	l.Check("watch", cfg.Watch.Validate())
	l.Check("rest", cfg.REST.Validate())
	l.Check("sse", cfg.SSE.Validate())
	l.Check("gate", cfg.Gate.Validate())
	first := map[string]int{}
	for i := range cfg.Apps {
		a := &cfg.Apps[i]
		section := fmt.Sprintf("apps[%d]", i)
		l.Check(section, a.Validate())
		if j, ok := first[a.ID]; ok && a.ID != "" {
			l.Problem(section+".id", fmt.Sprintf("the id is taken by apps[%d] already", j))
			continue
		}
		first[a.ID] = i
		if a.AppKey == "" && a.MasterKey == "" && a.HookKey == "" && a.AndroidKey == "" {
			l.Problem(section, "the app has no key, so nobody could ever ask or report; give it an app_key, a master_key or a hook_key")
		}
	}
}

// warnOpenFile warns when a file with keys in it can be read by every user of the machine.
func warnOpenFile(l *configload.Loader, name string, apps []App) {
	secret := slices.ContainsFunc(apps, func(a App) bool {
		return a.AppKey != "" || a.MasterKey != "" || a.HookKey != "" || a.AndroidKey != ""
	})
	if st, err := os.Stat(name); secret && err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o004 != 0 {
		l.Warn("apps", fmt.Sprintf("%s holds keys and every user of this machine may read it (mode %04o); chmod o-r", name, st.Mode().Perm()))
	}
}
