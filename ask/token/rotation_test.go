package token_test

import (
	"testing"

	"rollcall/ask/token"
	"rollcall/presence"
)

// What a secret sealed opens while it is the old one, and what is sealed meanwhile opens when it is
// gone.
func TestSealsOutliveARotation(t *testing.T) {
	secret, old := "before", ""
	ts := token.NewSealer(func(presence.AppID) (string, string) { return secret, old })
	cursor := ts.SealCursor(app, "7")
	text := token.Token{Detail: presence.DetailBrief, Known: "k", Seal: ts.Of(app)}.String()
	secret, old = "after", "before"
	ts.Renew()
	if c, ok := ts.OpenCursor(app, cursor); !ok || c != "7" {
		t.Errorf("a cursor of the old secret opens as %q, %v", c, ok)
	}
	if tok, ok := ts.Open(app, text); !ok || tok.Known != "k" {
		t.Errorf("a token of the old secret opens as %+v, %v", tok, ok)
	}
	next := ts.SealCursor(app, "8")
	old = ""
	ts.Renew()
	if _, ok := ts.OpenCursor(app, cursor); ok {
		t.Error("a cursor of a secret that is gone opens")
	}
	if c, ok := ts.OpenCursor(app, next); !ok || c != "8" {
		t.Errorf("a cursor of the new secret opens as %q, %v", c, ok)
	}
}
