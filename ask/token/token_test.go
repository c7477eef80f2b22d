package token_test

import (
	"testing"

	"rollcall/ask/token"
	"rollcall/presence"
)

const app presence.AppID = "app"

func FuzzOpen(f *testing.F) {
	ts := token.NewSealer(func(a presence.AppID) (string, string) { return "secret of " + string(a), "" })
	cursor := ts.SealCursor(app, "bucket 7")
	f.Add(cursor)
	f.Add("AQAAAAAAAAABAAAAAAAAAAIAAAAAAAAAAwAAAAAAAAAE") // of the first release, not sealed
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, s string) {
		if _, ok := ts.Open(app, s); ok {
			t.Fatalf("%q opens, and was not sealed", s)
		}
		if c, ok := ts.OpenCursor(app, s); ok && s != "" && s != cursor {
			t.Fatalf("%q opens as the cursor %q, and was not sealed", s, c)
		}
	})
}
