package leancloud_test

import (
	"testing"

	"rollcall/edge/leancloud"
	"rollcall/internal/configload"
)

// LeanEngine's variables name the port, one app and one Redis; what is ambiguous is not taken.
func TestWhatLeanEngineSaysIsTaken(t *testing.T) {
	type app struct {
		ID, AppKey, MasterKey, HookKey, AndroidKey         string
		AppKeyOld, MasterKeyOld, HookKeyOld, AndroidKeyOld string
	}
	type conf struct {
		Listen, Store string
		Apps          []app
	}
	for _, c := range []struct {
		name, listen, store string
		environ             []string
		app                 app
		problem, warning    bool
	}{
		{name: "port", environ: []string{"LEANCLOUD_APP_PORT=4"}, listen: ":4"},
		{name: "one more app", environ: []string{"LEANCLOUD_APP_ID=b", "LEANCLOUD_APP_HOOK_KEY=h"}, app: app{ID: "b", HookKey: "h"}},
		{name: "the app of the id", environ: []string{"LEANCLOUD_APP_ID=a", "LEANCLOUD_APP_KEY=new"}, app: app{ID: "a", AppKey: "new", MasterKey: "m"}},
		{name: "own names", environ: []string{"ROLLCALL_APP_ID=c", "ROLLCALL_HOOK_KEY=h", "ROLLCALL_HOOK_KEY_OLD=o"}, app: app{ID: "c", HookKey: "h", HookKeyOld: "o"}},
		{name: "own names win", environ: []string{"LEANCLOUD_APP_ID=a", "LEANCLOUD_APP_KEY=new", "ROLLCALL_APP_ID=a", "ROLLCALL_APP_KEY=newer"}, app: app{ID: "a", AppKey: "newer", MasterKey: "m"}},
		{name: "an old key", environ: []string{"LEANCLOUD_APP_ID=a", "LEANCLOUD_APP_MASTER_KEY_OLD=o"}, app: app{ID: "a", AppKey: "old", MasterKey: "m", MasterKeyOld: "o"}},
		{name: "an own key without an app", environ: []string{"LEANCLOUD_APP_ID=a", "ROLLCALL_MASTER_KEY=new"}, problem: true},
		{name: "a key without an app", environ: []string{"LEANCLOUD_APP_KEY=new"}, problem: true},
		{name: "one Redis", environ: []string{"REDIS_URL_X=redis://x"}, store: "redis://x"},
		{name: "one Redis beside a setting", environ: []string{"REDIS_URL_X=redis://x", "OUR_STORE=redis://y"}},
		{name: "two Redis", environ: []string{"REDIS_URL_X=redis://x", "REDIS_URL_Y=redis://y"}, warning: true},
	} {
		got := conf{Apps: []app{{ID: "a", AppKey: "old", MasterKey: "m"}}}
		l := configload.New(&got)
		leancloud.LoadEngine(l, c.environ, "OUR_STORE")
		last := got.Apps[len(got.Apps)-1]
		if c.app == (app{}) {
			c.app = app{ID: "a", AppKey: "old", MasterKey: "m"}
		}
		if got.Listen != c.listen || got.Store != c.store || last != c.app || (l.Err() != nil) != c.problem || (len(l.Warnings()) > 0) != c.warning {
			t.Errorf("%s: got %+v, %v, %v", c.name, got, l.Err(), l.Warnings())
		}
	}
}
