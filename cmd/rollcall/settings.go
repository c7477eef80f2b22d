package main

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"rollcall/server/config"
)

// settings are the flags that set a key of the configuration. A nil pointer is "not given", one to
// "" is "given empty".
type settings struct {
	Config string `placeholder:"FILE" help:"YAML file of settings (ROLLCALL_CONFIG)."`

	Listen    *string `key:"listen" placeholder:"ADDR" help:"Where apps and IM servers reach it; default :3000 (ROLLCALL_LISTEN)."`
	Admin     *string `key:"admin" placeholder:"ADDR" help:"Where operators reach health, metrics and status, without a key; default 127.0.0.1:3001 (ROLLCALL_ADMIN)."`
	Data      *string `key:"data" placeholder:"DIR" help:"Directory of keys and state; default ./rollcall-data; empty keeps all in memory (ROLLCALL_DATA)."`
	Store     *string `key:"store" placeholder:"URL" help:"Redis that keeps the state for several nodes, such as redis://host:6379; default none (ROLLCALL_STORE)."`
	Sync      *string `key:"embedded.sync" placeholder:"always|interval" help:"When a report is acknowledged: synced to disk, or written and synced soon; default always (ROLLCALL_EMBEDDED_SYNC)."`
	Policy    *string `key:"leancloud.policy" placeholder:"sum|last" help:"How LeanCloud's hooks are read: by their sum, or the last one wins; default sum (ROLLCALL_LEANCLOUD_POLICY)."`
	LogFormat *string `key:"log.format" placeholder:"text|json" help:"How the log is written; default text (ROLLCALL_LOG_FORMAT)."`
	LogLevel  *string `key:"log.level" placeholder:"debug|info|warn|error" help:"Least level that is logged; default info (ROLLCALL_LOG_LEVEL)."`
	Record    *string `key:"record" placeholder:"DIR" help:"Directory that gets the last 1,000 calls of each webhook source, without what proves them; default none (ROLLCALL_RECORD)."`
	Profiling *bool   `key:"profiling" help:"Open /debug/pprof/ on the operator listener (ROLLCALL_PROFILING)."`

	Set map[string]string `mapsep:"none" placeholder:"KEY=VALUE" help:"Any other setting by its key, such as presence.lease=1d; docs/config.md lists them. May be given again."`
}

// sources returns where the settings of s come from.
func (s *settings) sources(environ []string) config.Sources {
	src := config.Sources{File: s.Config, Environ: environ}
	if src.File == "" {
		src.File = variable(environ, "ROLLCALL_CONFIG")
	}
	for _, key := range slices.Sorted(maps.Keys(s.Set)) {
		src.Flags = append(src.Flags, config.Flag{Key: key, Value: s.Set[key], Name: "--set"})
	}
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		key := v.Type().Field(i).Tag.Get("key")
		if key == "" || v.Field(i).IsNil() {
			continue
		}
		name := flagName(v.Type().Field(i).Name)
		src.Flags = append(src.Flags, config.Flag{Key: key, Value: text(v.Field(i).Elem()), Name: name})
	}
	return src
}

// flagName returns how the flag of a field is written: LogFormat is --log-format.
func flagName(field string) string {
	var b strings.Builder
	b.WriteString("-")
	for _, r := range field {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('-')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

func text(v reflect.Value) string {
	if v.Kind() == reflect.Bool {
		if v.Bool() {
			return "true"
		}
		return "false"
	}
	return v.String()
}

func variable(environ []string, name string) string {
	for _, pair := range environ {
		if n, v, _ := strings.Cut(pair, "="); n == name {
			return v
		}
	}
	return ""
}
