//go:build faults

package server_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// C3: an answer that is not read ends its connection, pipelined or one of many on a connection of
// HTTP/2. A stream lives on.
func TestFaultAnAnswerThatIsNotReadIsEnded(t *testing.T) {
	cfg := settings()
	cfg.HTTP.BodyTimeout, cfg.HTTP.AnswerTimeout = time.Second, time.Second
	s := start(t, cfg)
	stream := do(t, http.DefaultClient, "GET", "http://"+s.Listen()+"/v1/watch?peer=tom", "")
	t.Cleanup(http.DefaultClient.CloseIdleConnections)

	page := do(t, http.DefaultClient, "GET", "http://"+s.Listen()+"/openapi/", "")
	_, rest, _ := strings.Cut(read(t, page), `src="`)
	bundle, _, ok := strings.Cut(rest, `"`)
	if !ok {
		bundle = "/openapi.yaml"
	}
	bundle = "/openapi/" + strings.TrimPrefix(strings.TrimPrefix(bundle, "/openapi/"), "./")
	long := `{"peerIds":[` + ids(5000) + `]}`
	for name, request := range map[string]string{
		"a page":  "GET " + bundle + " HTTP/1.1\r\nHost: a\r\n\r\n",
		"a query": "POST /v1/peers/query HTTP/1.1\r\n" + appHead + lengths[0].head(len(long)-2) + strings.Replace(long, "peerIds", "peers", 1),
		"a lane":  "POST /1.1/functions/getOnOffStatus HTTP/1.1\r\n" + appHead + lengths[0].head(len(long)) + long,
	} {
		c := from(t, "127.0.0.1", s.Listen()).(*net.TCPConn)
		_ = c.SetReadBuffer(4 << 10)
		// The kernel takes some of it; when it takes no more, the server has stopped reading, since
		// it cannot answer.
		many := strings.Repeat(request, 1+4<<20/len(request))
		_ = c.SetWriteDeadline(time.Now().Add(time.Minute))
		for err := error(nil); err == nil; {
			_, err = io.WriteString(c, many)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: after a minute the server still waits for a reader", name)
			}
		}
	}
	// Over HTTP/2 the answer alone ends.
	h2 := over2(t)
	h2.Transport.(*http.Transport).HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10}
	unread := do(t, h2, "GET", "http://"+s.Listen()+bundle, "")
	if unread.StatusCode != http.StatusOK {
		t.Fatalf("%s is not there: %s", bundle, unread.Status)
	}
	ended := make(chan error)
	go func() {
		time.Sleep(4 * time.Second) // of one
		_, err := io.Copy(io.Discard, unread.Body)
		ended <- err
	}()
	if err := <-ended; err == nil {
		t.Error("over HTTP/2 the answer waits for its reader")
	}
	// The stream has outlived all of it.
	do(t, http.DefaultClient, "POST", "http://"+s.Listen()+"/v1/events", `{"events":[{"peer":"tom","state":"online","session":"1"}]}`)
	online := false
	for events := bufio.NewScanner(stream.Body); !online && events.Scan(); {
		online = strings.Contains(events.Text(), `"status":"online"`)
	}
	if !online {
		t.Error("a stream ends with the time for an answer")
	}
}
