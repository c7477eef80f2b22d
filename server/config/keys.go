package config

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"rollcall/edge/leancloud"
	"rollcall/internal/api"
	"rollcall/internal/api/usertoken"
	"rollcall/internal/configload"
	"rollcall/internal/disk"
	"rollcall/presence"
)

// KeysFile holds the keys of the app that the first start made, in the data directory. It is
// written so that a shell can read it, in LeanEngine's own names, which LeanCloud's SDKs understand
// too.
const KeysFile = "keys.env"

// The lengths of ids and keys are LeanCloud's.
const (
	idLength     = 24
	keyLength    = 24
	secretLength = 48
)

// ErrNoKeysYet: new keys could not be written; there are no older ones that could be saved.
var ErrNoKeysYet = errors.New("keep the fresh keys")

// makeApp returns an app with fresh keys.
func makeApp() App {
	return App{
		ID:        randomKey(idLength),
		AppKey:    Secret(randomKey(keyLength)),
		MasterKey: Secret(randomKey(keyLength)),
		HookKey:   Secret(randomKey(keyLength)),

		TokenSecret: Secret(randomKey(secretLength)),
	}
}

// randomKey returns n random letters and digits: at 24 of 62, 142 bits.
func randomKey(n int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	out := make([]byte, 0, n)
	var b [1]byte
	for len(out) < n {
		_, _ = rand.Read(b[:]) // never fails, says crypto/rand
		if int(b[0]) < 4*len(letters) {
			out = append(out, letters[int(b[0])%len(letters)])
		}
	}
	return string(out)
}

// KeysIn returns the app kept in dir, and made when it was not there and had to be made. An empty
// dir keeps nothing.
func KeysIn(dir string) (app App, made bool, err error) {
	if dir == "" {
		return makeApp(), true, nil
	}
	name := filepath.Join(dir, KeysFile)
	// Reading a pipe would wait for ever.
	if st, err := os.Stat(name); err == nil && !st.Mode().IsRegular() {
		return App{}, false, fmt.Errorf("%s is not a file", name)
	}
	b, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		app = makeApp()
		if err := writeKeys(name, app); err != nil {
			return App{}, false, fmt.Errorf("%w: %w", ErrNoKeysYet, err)
		}
		return app, true, nil
	case err != nil:
		return App{}, false, err
	}
	app, err = parseKeys(b)
	if err != nil {
		return App{}, false, fmt.Errorf("%s: %w", name, err)
	}
	return app, false, nil
}

// keptSettings returns the settings of the app that the keys file called name holds; none when it
// cannot be read.
func keptSettings(name string) []configload.Setting {
	app, err := kept(name)
	if err != nil {
		return nil
	}
	return AppSettings(app, name)
}

// KeptIn returns the app kept in dir. It makes none.
func KeptIn(dir string) (App, error) { return kept(filepath.Join(dir, KeysFile)) }

// kept returns the app that the keys file called name holds.
func kept(name string) (App, error) {
	st, err := os.Stat(name)
	switch {
	case err != nil:
		return App{}, err
	case !st.Mode().IsRegular():
		return App{}, fmt.Errorf("%s is not a file", name)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return App{}, err
	}
	return parseKeys(b)
}

// AppSettings returns the settings of app, which came from the file called name.
func AppSettings(app App, name string) []configload.Setting {
	list := struct {
		Apps []App `config:",live"`
	}{[]App{app}}
	settings := configload.New(&list).Settings()
	for i := range settings {
		if settings[i].Value != "" {
			settings[i].From = name
		}
	}
	return settings
}

func parseKeys(b []byte) (App, error) {
	var app App
	s := bufio.NewScanner(bytes.NewReader(b))
	for s.Scan() {
		line := strings.TrimSpace(strings.TrimPrefix(s.Text(), "\ufeff"))
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return App{}, errors.New("a line is neither NAME=value nor a comment")
		}
		if name == leancloud.EngineApp {
			app.ID = value
		}
		for _, k := range leancloud.EngineKeys {
			switch name {
			case k.Variable:
				*app.key(k.Setting) = Secret(value)
			case k.Variable + leancloud.OldVariable:
				*app.key(k.Setting + leancloud.OldSetting) = Secret(value)
			}
		}
	}
	if err := s.Err(); err != nil {
		return App{}, err
	}
	return app, app.Validate()
}

// writeKeys writes the file so that after a crash it is either whole or not there.
func writeKeys(name string, app App) error {
	var b strings.Builder
	b.WriteString("# The app that rollcall made at its first start. Whoever reads this file may do everything with its peers.\n")
	fmt.Fprintf(&b, "%s=%s\n", leancloud.EngineApp, app.ID)
	for _, k := range leancloud.EngineKeys {
		if value := *app.key(k.Setting); value != "" {
			fmt.Fprintf(&b, "%s=%s\n", k.Variable, value.Reveal())
		}
	}
	return disk.WriteFile(disk.OS{}, name, []byte(b.String()))
}

// key returns the key of a that setting sets.
func (a *App) key(setting string) *Secret {
	for _, k := range a.keys() {
		if k.setting == setting {
			return k.value
		}
	}
	return nil
}

// A namedKey is a key of an app and its setting.
type namedKey struct {
	setting string
	value   *Secret
}

// keys returns all keys of a, an old one behind the one of its name.
func (a *App) keys() []namedKey {
	return []namedKey{
		{"app_key", &a.AppKey},
		{"app_key_old", &a.AppKeyOld},
		{"master_key", &a.MasterKey},
		{"master_key_old", &a.MasterKeyOld},
		{"hook_key", &a.HookKey},
		{"hook_key_old", &a.HookKeyOld},
		{"android_key", &a.AndroidKey},
		{"android_key_old", &a.AndroidKeyOld},
		{tokenSecret, &a.TokenSecret},
		{tokenSecret + leancloud.OldSetting, &a.TokenSecretOld},
	}
}

// keyless reports whether a has no key at all.
func (a *App) keyless() bool {
	return a.TokenKey == "" && a.TokenJWKS == "" && !slices.ContainsFunc(a.keys(), func(k namedKey) bool { return *k.value != "" })
}

// Tenants returns apps as the keyring takes them.
func Tenants(apps []App) []api.App {
	list := make([]api.App, len(apps))
	for i, a := range apps {
		list[i] = api.App{
			ID: presence.AppID(a.ID), Key: a.AppKey.Reveal(), MasterKey: a.MasterKey.Reveal(), HookKey: a.HookKey.Reveal(), AndroidKey: a.AndroidKey.Reveal(),
			Old: api.OldKeys{
				Key: a.AppKeyOld.Reveal(), MasterKey: a.MasterKeyOld.Reveal(), HookKey: a.HookKeyOld.Reveal(), AndroidKey: a.AndroidKeyOld.Reveal(),
			},
			Tokens: a.tokens(),
		}
	}
	return list
}

// tokens returns what proves the user tokens of a, which has been checked; nil: nothing.
func (a *App) tokens() *usertoken.Keys {
	keys := &usertoken.Keys{Secret: a.TokenSecret.Reveal(), OldSecret: a.TokenSecretOld.Reveal(), URL: a.TokenJWKS, Algorithm: a.TokenAlgorithm}
	keys.Public, _ = usertoken.ParsePEM(a.TokenKey)
	if keys.None() {
		return nil
	}
	return keys
}
