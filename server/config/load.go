package config

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"rollcall/edge/leancloud"
	"rollcall/internal/api"
	"rollcall/internal/configload"
	"rollcall/store/redisstore"
)

// Prefix begins the environment variable of every setting.
const Prefix = "ROLLCALL_"

// Sources are where settings are written. What stands later counts more: the file, LeanEngine's
// variables, our own variables, flags.
type Sources struct {
	File    string   // a YAML file; empty: none
	Environ []string // as of os.Environ
	Flags   []Flag
}

// A Flag gives Key, such as "log.format", the value written after Name, such as "--log-format".
type Flag struct{ Key, Value, Name string }

// Load returns the configuration that src describes. The error is [configload.Problems] with every
// mistake, and the warnings are what is allowed but worth a look. ctx ends the wait for a file that
// is a pipe.
func Load(ctx context.Context, src Sources) (cfg Config, warnings configload.Problems, err error) {
	loaded, err := LoadSettings(ctx, src)
	return loaded.Config, loaded.Warnings, err
}

// A Loaded is a configuration and where each setting of it was written.
type Loaded struct {
	Config   Config
	Settings []configload.Setting
	Warnings configload.Problems
}

// LoadSettings is [Load] with the settings one by one; among them are the keys of an app that
// rollcall made.
func LoadSettings(ctx context.Context, src Sources) (Loaded, error) {
	cfg := Default()
	l := configload.New(&cfg)
	if src.File != "" {
		l.File(ctx, src.File)
	}
	fileApps := len(cfg.Apps)
	leancloud.LoadEngine(l, src.Environ, Prefix+"STORE")
	l.Env(Prefix, src.Environ, append(leancloud.OwnNames(), "ROLLCALL_CONFIG", "ROLLCALL_SOURCE_SECRET")...)
	for _, f := range src.Flags {
		l.Set(f.Key, f.Value, f.Name)
	}
	cfg.Store = Secret(takeQuery(l, leancloud.NamedRedis(l, src.Environ, cfg.Store.Reveal())))
	l.Finish()
	check(l, &cfg)
	if cfg.Store == "" {
		warnUnused(l)
	}
	if fileApps > 0 {
		warnOpenFile(l, src.File, cfg.Apps[:fileApps])
	}
	loaded := Loaded{Config: cfg, Settings: l.Settings(), Warnings: l.Warnings()}
	if len(cfg.Apps) == 0 && cfg.Data != "" {
		loaded.Settings = append(loaded.Settings, keptSettings(filepath.Join(cfg.Data, KeysFile))...)
	}
	return loaded, l.Err()
}

// takeQuery takes the settings of Redis in the query of store, which is where they stood before
// they had a section, and returns the address without it.
func takeQuery(l *configload.Loader, store string) string {
	address, given, err := redisstore.CutQuery(store)
	if err != nil {
		l.Problem("store", fmt.Sprintf("store is %v", err))
	}
	for _, g := range given {
		key := "redis." + g.Key
		l.Within("store", key, g.Value)
		l.Warn("store", "store has settings in its query, which is deprecated; write "+key)
	}
	return address
}

// warnUnused warns of settings of Redis while the state is not in one.
func warnUnused(l *configload.Loader) {
	for _, s := range l.Settings() {
		if strings.HasPrefix(s.Key, "redis.") && s.From != configload.Default {
			l.Warn(s.Key, s.Key+" has no effect without store, the address of a Redis")
		}
	}
}

// check adds what each room finds wrong between the settings of its part.
func check(l *configload.Loader, cfg *Config) {
	l.Check("", cfg.Validate())
	l.Check("presence", cfg.Presence.Validate())
	l.Check("embedded", cfg.Embedded.Validate())
	l.Check("redis", cfg.Redis.Validate())
	l.Check("gateway", cfg.Gateway.Validate())
	l.Check("rtm", cfg.RTM.Validate())
	l.Check("hooks", cfg.Hooks.Validate())
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
		if a.keyless() {
			l.Problem(section, "the app has no key, so no call could ever ask or report; give it an app_key, a master_key or a hook_key")
		}
	}
	checkAccess(l, cfg)
	checkSources(l, cfg)
	checkReceivers(l, cfg)
}

// checkAccess warns of apps whose clients could not do what gate.ask and gate.present leave to
// those with a user token.
func checkAccess(l *configload.Loader, cfg *Config) {
	for i := range cfg.Apps {
		a := &cfg.Apps[i]
		if a.tokens() != nil {
			continue
		}
		section := fmt.Sprintf("apps[%d]", i)
		if cfg.Gate.Ask == api.ByToken {
			l.Warn(section, "gate.ask is token, and the app has no token_secret, token_key or token_jwks: only its servers may ask")
		}
		if cfg.PresentByToken() && a.MasterKey == "" {
			l.Warn(section, "gate.present is token, and the app has neither a master_key nor keys for user tokens: no client may be present")
		}
	}
}

// Access says in one line who may ask and who may be present, for people.
func (c *Config) Access() string {
	switch {
	case c.Gate.Ask == api.ByToken && c.PresentByToken():
		return "clients ask, watch and are present by user tokens"
	case c.Gate.Ask == api.ByToken:
		return "clients ask and watch by user tokens; anyone with the app key may be present as any peer"
	case c.PresentByToken():
		return "anyone with the app key may ask and watch; clients are present by user tokens or login signatures"
	}
	return "anyone with the app key may ask, watch, and be present as any peer"
}

// warnOpenFile warns when a file with keys in it can be read by every user of the machine.
func warnOpenFile(l *configload.Loader, name string, apps []App) {
	secret := slices.ContainsFunc(apps, func(a App) bool { return !a.keyless() })
	if st, err := os.Stat(name); secret && err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o004 != 0 {
		l.Warn("apps", fmt.Sprintf("%s holds keys and every user of this machine may read it (mode %04o); chmod o-r", name, st.Mode().Perm()))
	}
}
