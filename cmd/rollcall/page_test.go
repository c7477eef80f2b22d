package main

import (
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"rollcall/internal/configload"
	"rollcall/server/config"
)

//go:generate go test -run ^TestConfigPageIsFresh$ . -update

var update = flag.Bool("update", false, "rewrite docs/config.md")

const (
	configPage = "../../docs/config.md"
	pageHead   = `<!-- Made by go generate ./cmd/rollcall from the comments of the settings. Do not edit. -->

# Settings

A setting is written in a YAML file (` + "`--config FILE`" + ` or ` + "`ROLLCALL_CONFIG`" + `), in the environment, or as a flag; of two, the later in
this list counts: default, file, LeanEngine's variables, ` + "`ROLLCALL_…`" + ` variables, flags. Every key can be given as
` + "`--set KEY=VALUE`" + `; some have a flag of their own. A dot in a key is a level in the file:

` + "```yaml" + `
listen: ":3000"
presence:
  lease: 7d
apps:
  - id: 4nBxN0fQ8yYc1m2LqkWdT7ZB
    app_key: ...
    master_key: ...
    hook_key: ...
` + "```" + `

Durations are written ` + "`250ms`, `10s`, `5m`, `24h`, `7d`" + `; sizes in bytes or as ` + "`64KiB`, `1MiB`, `1GiB`" + `. Unknown keys, keys written
twice and values out of range are mistakes: ` + "`rollcall config check FILE`" + ` names all of them with line and column, and ` + "`rollcall serve`" + `
does the same before it listens. A range ` + "`1s..1h`" + ` is from 1s to 1h, both among them; an end that is left out is open, and commas stand
between what is allowed.

` + "`rollcall config show`" + ` prints every setting with the place that it comes from, ` + "`rollcall config show --running`" + ` those of a running server; of a
secret it prints the beginning of its SHA-256. ` + "`rollcall reload`" + ` (or SIGHUP, for a server without a terminal) has a running server read its file
again. It takes up what is marked *Live* below, without closing a socket or a stream, prints what changed, and names what waits for the next
start; a configuration with a mistake changes nothing. The environment and the flags are those of the start. An app that is gone takes its sockets
(close code 4100) and streams (` + "`bye`" + ` with reason ` + "`expired`" + `) with it; its sessions end as lost, and its peers stay in the store.

The keys of an app may stand in the environment: ` + "`ROLLCALL_APP_ID`" + ` names it (the one of that id in the file, else one more) and
` + "`ROLLCALL_APP_KEY`, `ROLLCALL_MASTER_KEY`, `ROLLCALL_HOOK_KEY`, `ROLLCALL_ANDROID_KEY`, `ROLLCALL_TOKEN_SECRET`" + ` give its keys. LeanEngine's names do the same,
` + "`LEANCLOUD_APP_ID`" + ` with ` + "`LEANCLOUD_APP_KEY`, `LEANCLOUD_APP_MASTER_KEY`, `LEANCLOUD_APP_HOOK_KEY`, `LEANCLOUD_APP_ANDX_KEY`" + ` and, which LeanEngine has not, ` + "`LEANCLOUD_APP_TOKEN_SECRET`" + `; for one app the former win.
With ` + "`_OLD`" + ` behind the name of a key (` + "`ROLLCALL_MASTER_KEY_OLD`" + `) it is the key that is being replaced.

` + "`LEANCLOUD_APP_PORT`" + ` is the port of ` + "`listen`" + `;
` + "`REDIS_URL_<name>`" + `, as LeanEngine sets it, is the address of a Redis: the only one is taken, of several name one (` + "`--store REDIS_URL_<name>`" + `).
`
)

// flagsOfSettings returns the flag of every key that has one.
func flagsOfSettings() map[string]string {
	flags := map[string]string{}
	t := reflect.TypeFor[settings]()
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("key"); key != "" {
			flags[key] = flagName(t.Field(i).Name)
		}
	}
	return flags
}

func TestConfigPageIsFresh(t *testing.T) {
	cfg := config.Default()
	page := configload.Page{Root: "../..", Module: "rollcall", Prefix: config.Prefix, Flags: flagsOfSettings()}
	body, err := page.Markdown(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	want := pageHead + body
	if *update {
		if err := os.WriteFile(configPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(configPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/config.md does not say what the settings are; run: go generate ./cmd/rollcall")
	}
}

func TestEveryFlagSetsAKeyThatExists(t *testing.T) {
	cfg := config.Default()
	keys := map[string]bool{}
	for _, k := range configload.Keys(&cfg) {
		keys[k.Path] = true
	}
	typ := reflect.TypeFor[settings]()
	for key, flag := range flagsOfSettings() {
		if !keys[key] {
			t.Errorf("%s sets %s, which is not a key", flag, key)
		}
	}
	for i := range typ.NumField() {
		f := typ.Field(i)
		key := f.Tag.Get("key")
		if key == "" {
			continue
		}
		variable := config.Prefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
		if !strings.Contains(f.Tag.Get("help"), "("+variable+")") {
			t.Errorf("the help of %s does not name %s", flagName(f.Name), variable)
		}
	}
}
