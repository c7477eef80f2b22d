// Command coder is the plainest server of sockets on coder/websocket: a goroutine reads each,
// another pings it. It answers every message with the same bytes and knows nothing of anybody. It
// is what rollcall's sockets are measured beside.
package main

import (
	"context"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/coder/websocket"
)

// answer has the size of a session that is opened.
var answer = make([]byte, 120)

func main() {
	server := &http.Server{Addr: os.Args[1], Handler: http.HandlerFunc(serve), ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.ListenAndServe())
}

func serve(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"lc.protobuf2.3"}, InsecureSkipVerify: true})
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		t := time.NewTicker(15 * time.Second)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				if c.Ping(ctx) != nil {
					return
				}
			}
		}
	}()
	for {
		if _, _, err := c.Read(ctx); err != nil {
			return
		}
		if c.Write(ctx, websocket.MessageBinary, answer) != nil {
			return
		}
	}
}
