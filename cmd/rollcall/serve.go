package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"rollcall/internal/logs"
	"rollcall/server"
	"rollcall/server/config"
)

type serveCmd struct {
	settings
}

// Help is shown below the flags.
func (serveCmd) Help() string {
	return `With nothing configured, the first start makes an app with fresh keys, keeps them in the data directory and, on a terminal, prints them once.
The log goes to standard error. Ctrl-C or SIGTERM stops the server; a second one ends it at once.`
}

// gcPercent keeps the heap small: nearly all of it is an index without pointers, so a collection
// costs next to nothing however often it runs.
const gcPercent = 25

// Run serves until the context of e ends.
func (c *serveCmd) Run(e *env) error {
	load := func(ctx context.Context) (config.Loaded, error) {
		return config.LoadSettings(ctx, c.sources(e.environ))
	}
	loaded, err := load(e.ctx)
	if err != nil {
		return err
	}
	if variable(e.environ, "GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	sink := logs.NewSink(e.stderr)
	defer sink.Close(500 * time.Millisecond)
	log, level := config.NewLog(sink, loaded.Config.Log)
	slog.SetDefault(log)
	for _, w := range loaded.Warnings {
		log.Warn("configuration warning", "where", w.Where, "key", w.Key, "text", w.Text)
	}
	srv, err := server.New(loaded.Config, log, sink)
	if err != nil {
		return err
	}
	srv.OnReload(server.Live{Load: load, Loaded: loaded, Level: level})
	if err := srv.Start(e.ctx); err != nil {
		return err
	}
	defer onHangup(func() { _, _ = srv.Reload(e.ctx) })() // the log has what came of it
	// A terminal that takes nothing must not keep us from stopping.
	out := logs.NewSink(e.stdout)
	defer out.Close(500 * time.Millisecond)
	welcome(out, srv, terminal(e.stdout))
	<-e.ctx.Done()
	srv.Stop(context.WithoutCancel(e.ctx))
	fmt.Fprintln(out, "rollcall: stopped")
	return nil
}

// terminal reports whether w is one: what is printed there is kept by no log.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// welcome says what listens where and, for an app that rollcall made, prints lines to paste. Only a
// terminal is shown fresh keys.
func welcome(w io.Writer, srv *server.Server, terminal bool) {
	fmt.Fprintf(w, "%s\n\n", server.BuildVersion())
	fmt.Fprintf(w, "  apps       %s\n", baseURL(srv.Listen()))
	if encrypted := srv.ListenTLS(); encrypted != "" {
		fmt.Fprintf(w, "  https      https%s\n", strings.TrimPrefix(baseURL(encrypted), "http"))
	}
	fmt.Fprintf(w, "  operators  %s  (/livez /readyz /metrics /status)\n", baseURL(srv.Admin()))
	fmt.Fprintf(w, "  state      %s\n", srv.StoreName())
	fmt.Fprintf(w, "  access     %s\n", srv.Access())
	apps := srv.Apps()
	switch file := srv.KeysFile(); {
	case srv.Made() && !terminal && file == "":
		fmt.Fprintf(w, "  tenant     made just now; its keys are not shown, since this is no terminal: set LEANCLOUD_APP_ID and its keys, or keep them with --data DIR\n")
	case srv.Made() && !terminal:
		fmt.Fprintf(w, "  tenant     made just now; its keys are kept in %s\n", absolute(file))
		lines(w, baseURL(srv.Listen()), absolute(file), "$LEANCLOUD_APP_ID", "$LEANCLOUD_APP_KEY", "$LEANCLOUD_APP_HOOK_KEY")
	case srv.Made():
		a := apps[0]
		where := "kept in " + absolute(file) + "; they are not shown again"
		if file == "" {
			where = "gone when this process ends"
		}
		fmt.Fprintf(w, "  tenant     made just now; its keys are %s\n\n", where)
		fmt.Fprintf(w, "    app id      %s\n    app key     %s\n    master key  %s\n    hook key    %s\n    tokens      %s\n",
			a.ID, a.AppKey.Reveal(), a.MasterKey.Reveal(), a.HookKey.Reveal(), a.TokenSecret.Reveal())
		lines(w, baseURL(srv.Listen()), "", a.ID, a.AppKey.Reveal(), a.HookKey.Reveal())
	case file != "":
		fmt.Fprintf(w, "  tenant     %s; its keys are in %s\n", apps[0].ID, absolute(file))
		lines(w, baseURL(srv.Listen()), absolute(file), "$LEANCLOUD_APP_ID", "$LEANCLOUD_APP_KEY", "$LEANCLOUD_APP_HOOK_KEY")
	default:
		ids := make([]string, len(apps))
		for i, a := range apps {
			ids[i] = a.ID
		}
		fmt.Fprintf(w, "  tenants    %s\n", strings.Join(ids, ", "))
	}
	if srv.Made() {
		fmt.Fprint(w, "\nTo let clients in by user tokens only: --set gate.ask=token --set gate.present=token, see docs/user-tokens.md\n")
	}
	fmt.Fprint(w, "\nCtrl-C stops it.\n")
}

// lines prints a hook and a query to paste into any shell. With a keys file, each reads the keys
// from it, so that they are not shown.
func lines(w io.Writer, base, file, id, key, hook string) {
	before, after := "", ""
	if file != "" {
		before, after = "(. "+quote(file)+"; ", ")"
	}
	curl := func(function, headers, body string) {
		fmt.Fprintf(w, "  %scurl -w '\\n' -X POST %s/1.1/functions/%s -H \"X-LC-Id: %s\" -H \"X-LC-Key: %s\"%s -H \"Content-Type: application/json\" -d '%s'%s\n",
			before, base, function, id, key, headers, body, after)
	}
	fmt.Fprint(w, "\nTo try it, report that tom came online, then ask who is:\n\n")
	curl("_clientOnline", fmt.Sprintf(" -H \"X-LC-Hook-Key: %s\"", hook), `{"peerId":"tom"}`)
	curl("getOnOffStatus", "", `{"peerIds":["tom","jerry"]}`)
}

// quote writes s so that a shell reads it as one word.
func quote(s string) string {
	plain := func(r rune) bool {
		return r == '/' || r == '.' || r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// absolute returns file so that it is found from any directory.
func absolute(file string) string {
	if a, err := filepath.Abs(file); err == nil {
		return a
	}
	return file
}

// baseURL returns how a client on this machine reaches address.
func baseURL(address string) string {
	// As the server prints it.
	address = strings.TrimSuffix(strings.TrimPrefix(address, "http://"), "/")
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "http://" + address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}
