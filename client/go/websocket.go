package rollcall

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// A websocket is as much of RFC 6455 as this client needs: text messages, pings and pongs.
type websocket struct {
	conn io.ReadWriteCloser
	r    *bufio.Reader
	mu   sync.Mutex // one frame at a time

	quiet   sync.Mutex
	late    *time.Timer // closes the connection when the server says nothing for too long
	leaving bool        // the server has little time left to answer
}

const (
	opContinue = 0
	opText     = 1
	opClose    = 8
	opPing     = 9
	opPong     = 10

	largest = 1 << 20 // of a message
)

var errClosed = errors.New("the socket was closed")

// dial opens a WebSocket to /v1/socket, as the HTTP client connects: with its proxies and its TLS.
func (c *Client) dial(ctx context.Context) (*websocket, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel() // a socket that is open no longer depends on it
	ws, err := c.upgrade(ctx)
	if err != nil {
		return nil, unreachable("GET /v1/socket", err)
	}
	return ws, nil
}

// upgrade asks for a WebSocket.
func (c *Client) upgrade(ctx context.Context) (*websocket, error) {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	key := base64.StdEncoding.EncodeToString(nonce[:])
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.String()+"/v1/socket", nil)
	if err != nil {
		return nil, err
	}
	for k, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key} {
		r.Header.Set(k, v)
	}
	res, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		defer func() { _ = res.Body.Close() }()
		return nil, refusal(res, false)
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	conn, ok := res.Body.(io.ReadWriteCloser)
	if !ok || res.Header.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]) {
		_ = res.Body.Close()
		return nil, foreign(res)
	}
	ws := &websocket{conn: conn, r: bufio.NewReader(conn)}
	ws.late = time.AfterFunc(silence, func() { _ = conn.Close() })
	return ws, nil
}

func (ws *websocket) close() {
	ws.late.Stop()
	_ = ws.conn.Close()
}

// alive notes that the server said something.
func (ws *websocket) alive() {
	ws.quiet.Lock()
	defer ws.quiet.Unlock()
	if !ws.leaving {
		ws.late.Reset(silence) // the server pings every 15 s
	}
}

// leave gives the server a moment to answer the last message.
func (ws *websocket) leave() {
	ws.quiet.Lock()
	defer ws.quiet.Unlock()
	ws.leaving = true
	ws.late.Reset(goodbye)
}

// say sends m as a text message.
func (ws *websocket) say(m any) error {
	b, err := json.Marshal(m)
	if err != nil {
		return &Error{Code: "invalid", Text: err.Error(), Cause: err}
	}
	return ws.frame(opText, b)
}

func (ws *websocket) frame(op byte, payload []byte) error {
	b := []byte{0x80 | op, 0x80}
	switch n := len(payload); {
	case n < 126:
		b[1] |= byte(n)
	case n < 1<<16:
		b[1] |= 126
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b[1] |= 127
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	var mask [4]byte
	_, _ = rand.Read(mask[:])
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i%4])
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	_, err := ws.conn.Write(b)
	return err
}

// read returns the next message. A server that says nothing and does not ping for long is gone.
func (ws *websocket) read() ([]byte, error) {
	var message []byte
	for {
		fin, op, payload, err := ws.next(len(message))
		if err != nil {
			return nil, err
		}
		switch op {
		case opPing:
			if err := ws.frame(opPong, payload); err != nil {
				return nil, err
			}
		case opPong:
		case opClose:
			return nil, errClosed
		case opText, opContinue:
			if message = append(message, payload...); fin {
				return message, nil
			}
		default:
			return nil, fmt.Errorf("the server sent a frame of kind %d", op)
		}
	}
}

func (ws *websocket) next(have int) (fin bool, op byte, payload []byte, err error) {
	var head [8]byte
	if _, err = io.ReadFull(ws.r, head[:2]); err != nil {
		return false, 0, nil, err
	}
	ws.alive()
	fin, op = head[0]&0x80 != 0, head[0]&15
	n := uint64(head[1] & 0x7f)
	switch n {
	case 126:
		_, err = io.ReadFull(ws.r, head[:2])
		n = uint64(binary.BigEndian.Uint16(head[:]))
	case 127:
		_, err = io.ReadFull(ws.r, head[:8])
		n = binary.BigEndian.Uint64(head[:])
	}
	switch {
	case err != nil:
		return false, 0, nil, err
	case n > largest || n+uint64(have) > largest:
		return false, 0, nil, errors.New("the server sent a frame that is too long")
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(ws.r, payload)
	return fin, op, payload, err
}
