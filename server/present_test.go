package server_test

import (
	"fmt"
	"testing"
	"time"

	"rollcall/internal/api"
)

// The switch is in the settings of the realtime protocol and holds for the native socket of the
// same server.
func TestRequiredSignaturesHoldForTheNativeSocket(t *testing.T) {
	cfg := settings()
	cfg.RTM.Signatures = true
	s := start(t, cfg)
	now := time.Now().UnixMilli()
	w, err := dial(t, s)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.say(fmt.Sprintf(`{"op":"hello","id":1,"app":%q,"key":%q}`, appID, appKey)); got != "" {
		t.Fatalf("hello is refused: %s", got)
	}
	if got := w.say(`{"op":"present","id":2,"peer":"tom"}`); got != "unauthorized" {
		t.Errorf("present without a signature: %q, want unauthorized", got)
	}
	sign := api.SignLogin(masterKey, appID, "tom", now, "n")
	if got := w.say(fmt.Sprintf(`{"op":"present","id":3,"peer":"tom","time":%d,"nonce":"n","sign":%q}`, now, sign)); got != "" {
		t.Errorf("present with a signature: %q, want ok", got)
	}
}
