package server_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"

	"rollcall/server"
	"rollcall/server/config"
)

// A kept is a log in memory.
type kept struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (k *kept) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text.Write(b)
}

// People come through every door, also with what is refused; at the lowest level the log has none
// of their ids.
func TestNoPeerIsInALogWithoutPeers(t *testing.T) {
	cfg := settings()
	cfg.Log = config.Log{Format: "json", Level: "debug", Peers: "off"}
	out := &kept{}
	log, _ := config.NewLog(out, cfg.Log)
	s, err := server.New(cfg, log, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() { s.Stop(context.Background()) })
	t.Cleanup(stop)
	const person = "person-of-the-log"
	hook(t, s, "_clientOnline", person+"-hook")
	hook(t, s, "_clientOffline", person+"-hook")
	master := []string{"X-LC-Id", appID, "Authorization", "Bearer " + masterKey}
	for _, c := range [][3]string{
		{"POST", "/v1/events", `{"events":[{"peer":"` + person + `-rest","session":"` + person + `-session","device":"` + person + `-device","state":"online"}]}`},
		{"POST", "/v1/events", `{"events":[{"peer":"` + person + `\u0000","session":"s","state":"sideways"}]}`},
		{"POST", "/v1/peers/query", `{"peers":["` + person + `-asked"]}`},
		{"GET", "/v1/peer/why?id=" + person + "-rest", ""},
		{"GET", "/v1/peer?id=" + person + "%zz", ""},
		{"POST", "/1.1/functions/getOnOffStatus", `{"peerIds":["` + person + `-recipe"`},
		{"DELETE", "/v1/peer?id=" + person + "-rest", ""},
	} {
		ask(t, c[0], "http://"+s.Listen()+c[1], c[2], master...)
	}
	w := greeted(t, s)
	if refused := w.say(`{"op":"present","peer":"` + person + `-socket","device":"` + person + `-phone","id":2}`); refused != "" {
		t.Fatal(refused)
	}
	_ = w.say(`{"op":"watch","peers":["` + person + `-watched"],"id":3}`)
	if status, _ := ask(t, "GET", "http://"+s.Admin()+"/v1/peer/why?id="+person+"-socket", ""); status != http.StatusOK {
		t.Errorf("an operator is answered %d", status)
	}
	stop()
	out.mu.Lock()
	defer out.mu.Unlock()
	if text := out.text.String(); strings.Contains(text, person) || !strings.Contains(text, `"event":"ready"`) {
		t.Errorf("the log has a person, or nothing:\n%s", text)
	}
}
