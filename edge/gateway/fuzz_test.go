package gateway_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"rollcall/edge/gateway"
)

// FuzzCommands gives a gateway whatever a client may send, as commands of each format. Nothing may
// panic or hang, and a client that is well-behaved afterwards is served.
func FuzzCommands(f *testing.F) {
	f.Add([]byte(`{"cmd":"session","op":"open","appId":"`+appID+`","peerId":"Tom","i":1}`), uint8(2))
	for _, m := range []message{
		open("Tom", 1, message{sTag: "Mobile", sDevice: "d", sR: 1}), query(2, "Tom", "Jerry"),
		{fCmd: 0, fOp: opClose, fI: 3},
		{fCmd: 0, fOp: opRefresh, fI: 4, fSession: message{sSt: "x"}},
		{fCmd: 14},
		{fCmd: 8, fService: 1, fI: 5},
		{fCmd: 16, fI: 6},
		{fCmd: 13, fOp: 100, fI: 7},
		{fCmd: 1, fOp: 30, fI: 8},
	} {
		f.Add(build(m), uint8(0))
	}
	protocols := []string{"lc.protobuf2.3", "lc.proto2base64.3", "lc.json.3"}
	w := newWorld(f, settings{gateway: func(c *gateway.Config) { c.OneGoroutine = true; c.MessageRate = 1e6 }})
	f.Fuzz(func(t *testing.T, data []byte, format uint8) {
		proto := protocols[int(format)%len(protocols)]
		u := w.rtm.Upgrade(proto)
		client, server := net.Pipe()
		done := make(chan struct{})
		go func() { // whatever is answered
			defer close(done)
			buf := make([]byte, 4096)
			for {
				if _, err := client.Read(buf); err != nil {
					return
				}
			}
		}()
		w.gw.Serve(server, nil, netip.Addr{}, false, u)
		op := byte(0x82)
		if u.Text {
			op = 0x81
			data = []byte(strings.ToValidUTF8(string(data), "?"))
		}
		_ = client.SetWriteDeadline(time.Now().Add(5 * time.Second))
		_, _ = client.Write(masked(op, data[:min(len(data), 8<<10)])) // it may be closed already
		_, _ = client.Write(masked(0x89, nil))
		_ = client.Close()
		<-done
	})
}
