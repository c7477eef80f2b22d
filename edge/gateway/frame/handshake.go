package frame

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // RFC 6455 names it; it protects nothing
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// ErrHandshake: the request is no WebSocket handshake that this server takes.
var ErrHandshake = errors.New("not a websocket handshake")

const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// handshakeTime bounds the writing of the answer.
const handshakeTime = 10 * time.Second

// Asked reports whether r asks for a WebSocket.
func Asked(r *http.Request) bool {
	return hasToken(r.Header, "Connection", "upgrade") && hasToken(r.Header, "Upgrade", "websocket")
}

// Check returns an error matching [ErrHandshake] that says why r cannot be upgraded, or nil.
func Check(r *http.Request) error {
	switch {
	case r.Method != http.MethodGet:
		return fmt.Errorf("%w: the method is not GET", ErrHandshake)
	case r.ProtoMajor != 1 || r.ProtoMinor < 1:
		return fmt.Errorf("%w: the protocol is not HTTP/1.1", ErrHandshake)
	case r.ContentLength != 0:
		return fmt.Errorf("%w: the request has a body", ErrHandshake)
	case !Asked(r):
		return fmt.Errorf("%w: no Connection: Upgrade with Upgrade: websocket", ErrHandshake)
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return fmt.Errorf("%w: the version is not 13", ErrHandshake)
	}
	keys := r.Header.Values("Sec-WebSocket-Key")
	if len(keys) != 1 {
		return fmt.Errorf("%w: not exactly one key", ErrHandshake)
	}
	if k, err := base64.StdEncoding.DecodeString(strings.TrimSpace(keys[0])); err != nil || len(k) != 16 {
		return fmt.Errorf("%w: the key is not 16 bytes in base64", ErrHandshake)
	}
	return nil
}

// Offered returns the subprotocols that r offers, in order.
func Offered(r *http.Request) []string {
	var all []string
	for _, v := range r.Header.Values("Sec-WebSocket-Protocol") {
		for p := range strings.SplitSeq(v, ",") {
			if p = strings.TrimSpace(p); p != "" {
				all = append(all, p)
			}
		}
	}
	return all
}

// Accept answers a request that [Check] found good, with subprotocol unless it is empty, and takes
// the connection over. The bytes that were read beyond the request come with it. On an error the
// connection is closed or was never taken.
func Accept(w http.ResponseWriter, r *http.Request, subprotocol string) (conn net.Conn, early []byte, err error) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("take the connection over: %w", err)
	}
	if n := buffered.Reader.Buffered(); n > 0 {
		early = make([]byte, n)
		if _, err := io.ReadFull(buffered.Reader, early); err != nil {
			return nil, nil, errors.Join(fmt.Errorf("read what came early: %w", err), conn.Close())
		}
	}
	var answer bytes.Buffer
	answer.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ")
	answer.WriteString(acceptKey(strings.TrimSpace(r.Header.Get("Sec-WebSocket-Key"))))
	if subprotocol != "" {
		answer.WriteString("\r\nSec-WebSocket-Protocol: " + subprotocol)
	}
	answer.WriteString("\r\n\r\n")
	err = conn.SetDeadline(time.Now().Add(handshakeTime))
	if err == nil {
		_, err = conn.Write(answer.Bytes())
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("answer the handshake: %w", err), conn.Close())
	}
	return conn, early, nil
}

func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + acceptGUID)) //nolint:gosec // see above
	return base64.StdEncoding.EncodeToString(sum[:])
}

func hasToken(h http.Header, name, token string) bool {
	for _, v := range h.Values(name) {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}
