package server_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// Over HTTP/2 a call that ends badly, and a stream, end alone: the other calls of their connection
// go on, and so does the connection.
func TestACallOverHTTP2EndsAlone(t *testing.T) {
	s := start(t, settings())
	c, base := over2(t), "http://"+s.Listen()
	var dials atomic.Int64
	c.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	watch := do(t, c, "GET", base+"/v1/watch?peer=tom", "")
	big := strings.Repeat("x", 2<<20)
	for _, call := range []struct {
		name, path, body string
		head             []string
		status           int
	}{
		{"native, too large", "/v1/peers/query", big, nil, 413},
		{"native, another type", "/v1/peers/query", "<a/>", []string{"Content-Type", "text/xml"}, 415},
		{"dialect, too large", "/1.1/functions/getOnOffStatus", big, []string{"X-LC-Key", appKey}, 413},
		{"dialect, another charset", "/1.1/functions/getOnOffStatus", "{}", []string{"X-LC-Key", appKey, "Content-Type", "text/plain;charset=gbk"}, 415},
		{"dialect, another encoding", "/1.1/functions/getOnOffStatus", "{}", []string{"X-LC-Key", appKey, "Content-Encoding", "br"}, 415},
		{"watch, too large", "/v1/watch", big, nil, 413},
		{"no such call", "/nothing", big, nil, 404},
		{"no such method", "/v1/info", big, nil, 405},
		{"no right key", "/v1/peers/query", big, []string{"Authorization", "Bearer wrong"}, 401},
	} {
		sent := &counted{Reader: strings.NewReader(call.body)}
		res := doFrom(t, c, "POST", base+call.path, sent, len(call.body), call.head...)
		if n := sent.n.Load(); n != int64(len(call.body)) {
			t.Errorf("%s: the answer came behind %d bytes of %d: curl 7 loses it", call.name, n, len(call.body))
		}
		if res.StatusCode != call.status || res.ProtoMajor != 2 {
			t.Errorf("%s: %s %s, want %d", call.name, res.Proto, res.Status, call.status)
		}
		_ = res.Body.Close()
	}
	do(t, c, "POST", base+"/v1/events", `{"events":[{"peer":"tom","state":"online","session":"1"}]}`)
	online := false
	for events := bufio.NewScanner(watch.Body); !online && events.Scan(); {
		online = strings.Contains(events.Text(), `"status":"online"`)
	}
	if !online {
		t.Error("the stream ended")
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections were needed, want 1", n)
	}
}

// counted counts what is read of it.
type counted struct {
	io.Reader
	n atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}
