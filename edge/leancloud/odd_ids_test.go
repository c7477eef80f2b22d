package leancloud_test

import (
	"fmt"
	"net/http"
	"testing"

	"rollcall/edge/leancloud"
)

// TestNumbersAreIDsByTheirDecimalText: a hook whose peerId is a number is about the peer of that
// text, as the recipe kept it, and a list with a hole in it is answered around the hole, at every
// function door and on both roads.
func TestNumbersAreIDsByTheirDecimalText(t *testing.T) {
	for _, lane := range []bool{false, true} {
		t.Run(fmt.Sprint("lane ", lane), func(t *testing.T) {
			cfg := leancloud.DefaultConfig()
			raw := serveRaw(t, cfg, lane)
			raw.Server = start(t, cfg).Server
			raw.URL = "http://" + raw.addr
			srv := raw.testServer
			post := func(path string, h http.Header, body, text string) {
				t.Helper()
				resp, got := srv.send(t, http.MethodPost, path, h, []byte(body))
				want(t, resp, got, 200, text)
			}
			for number, id := range map[string]string{
				"5": "5", "-7": "-7", "0": "0", "-0": "0", "12345678901234567890": "12345678901234567890",
				"1.50": "1.5", "1e3": "1000", "1E+3": "1000", "0.1": "0.1", "-2.5e-3": "-0.0025", "1.5e300": "1.5e+300", "1e21": "1e21",
				"0.000001": "0.000001", "1e-7": "1e-7", "123456789.5": "123456789.5", "1e400": "Infinity",
			} {
				if number == "1e21" {
					id = "1e+21" // as JavaScript writes it
				}
				ask := fmt.Sprintf(`{"peerIds":[%q,null]}`, id)
				hook := `{"peerId":` + number + `}`
				post("/1.1/functions/_clientOnline", asHook(), hook, "{}")
				post("/1.1/functions/getOnOffStatus", asClient(), ask, `{"result":["1",null]}`)
				post("/1.1/call/getOnOffStatus", asClient(), ask, `{"result":["1",null]}`)
				post("/1.1/call/_clientOffline", asHook(), hook, `{"result":{}}`)
				post("/1/functions/getOnOffStatus", asClient(), ask, `{"result":["0",null]}`)
			}
			for _, id := range []string{`true`, `false`, `null`, `{}`, `["tom"]`, `[]`, `""`} {
				resp, got := srv.send(t, http.MethodPost, "/1.1/functions/_clientOnline", asHook(), []byte(`{"peerId":`+id+`}`))
				want(t, resp, got, 400, "code 1")
			}
			post("/1.2/rtm/clients/check-online", asMaster(), `{"client_ids":["x",1e3,{},["1000"],true,null]}`, `{"results":[]}`)
			post("/1.1/functions/_clientOnline", asHook(), `{"peerId":"7"}`, "{}")
			post("/1.2/rtm/clients/check-online", asMaster(), `{"client_ids":["x",7.0,{},["7"],true,null]}`, `{"results":["7","7"]}`)
			post("/1.1/functions/_clientOnline", asHook(), `{"peerId":42}`, "{}")
			post("/1.1/functions/getOnOffStatus", asClient(), `{"peerIds":[null,42,"42",null,"x"]}`, `{"result":[null,"1","1",null,null]}`)
			post("/1.2/rtm/clients/check-online", asMaster(), `{"client_ids":[null,"42","x"]}`, `{"results":["42"]}`)
		})
	}
}
