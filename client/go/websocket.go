package rollcall

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// A websocket is as much of RFC 6455 as this client needs: text messages, pings and pongs.
type websocket struct {
	conn net.Conn
	r    *bufio.Reader
	mu   sync.Mutex // one frame at a time

	leaving atomic.Bool // the server has little time left to answer
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

// dial opens a WebSocket at path of base.
func dial(ctx context.Context, base *url.URL, path string) (*websocket, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	host := base.Host
	if base.Port() == "" {
		host = net.JoinHostPort(base.Hostname(), map[string]string{"http": "80", "https": "443"}[base.Scheme])
	}
	var (
		conn net.Conn
		err  error
	)
	if base.Scheme == "https" {
		conn, err = (&tls.Dialer{Config: &tls.Config{ServerName: base.Hostname()}}).DialContext(ctx, "tcp", host)
	} else {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", host)
	}
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	ws := &websocket{conn: conn, r: bufio.NewReader(conn)}
	err = ws.shake(base, path)
	if !stop() || err != nil {
		_ = conn.Close()
		if err == nil {
			err = ctx.Err()
		}
		return nil, err
	}
	return ws, nil
}

// shake asks for the upgrade.
func (ws *websocket) shake(base *url.URL, path string) error {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	key := base64.StdEncoding.EncodeToString(nonce[:])
	_, err := fmt.Fprintf(ws.conn, "GET %s%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n",
		base.EscapedPath(), path, base.Host, key)
	if err != nil {
		return err
	}
	res, err := http.ReadResponse(ws.r, &http.Request{Method: http.MethodGet})
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		defer func() { _ = res.Body.Close() }()
		return refusal(res)
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if res.Header.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]) {
		return errors.New("the server did not answer the upgrade")
	}
	return nil
}

func (ws *websocket) close() { _ = ws.conn.Close() }

// write sends a text message.
func (ws *websocket) write(message []byte) error { return ws.frame(opText, message) }

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
	_ = ws.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
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
	if !ws.leaving.Load() {
		_ = ws.conn.SetReadDeadline(time.Now().Add(silence)) // the server pings every 15 s
	}
	if _, err = io.ReadFull(ws.r, head[:2]); err != nil {
		return false, 0, nil, err
	}
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
