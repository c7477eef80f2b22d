package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// beLoad opens and keeps sockets, says "in" when all are, and "back" when all are again after they
// broke.
func beLoad(spec string) error {
	parts := strings.Split(spec, ",")
	if len(parts) != 3 {
		return errors.New("-load is ADDRESS,COUNT,LOOPBACK")
	}
	n, err := strconv.Atoi(parts[1])
	if err != nil {
		return err
	}
	var in, back sync.WaitGroup
	in.Add(n)
	back.Add(n)
	gate := make(chan struct{}, 64)
	for i := range n {
		c := &client{addr: parts[0], local: parts[2], peer: fmt.Sprintf("peer-%s-%d", parts[2], i), gate: gate}
		go c.live(&in, &back)
	}
	in.Wait()
	fmt.Println("in")
	back.Wait()
	fmt.Println("back")
	select {}
}

// A client is one socket.
type client struct {
	addr, local, peer string
	token             []byte
	gate              chan struct{} // bounds how many handshakes are under way
}

// live connects, stays, and connects once more each time it is cut off, after a moment as SDKs do.
func (c *client) live(in, back *sync.WaitGroup) {
	for run := 0; ; run++ {
		conn, err := c.connect()
		if err != nil {
			if run == 0 {
				fmt.Fprintln(os.Stderr, "sockets: load:", err)
				os.Exit(1)
			}
			time.Sleep(time.Second + time.Duration(rand.IntN(1000))*time.Millisecond)
			continue
		}
		switch run {
		case 0:
			in.Done()
		default:
			back.Done()
			back = &sync.WaitGroup{}
			back.Add(1 << 20) // only the first return counts
		}
		c.stay(conn)
		_ = conn.Close()
		time.Sleep(time.Second)
	}
}

func (c *client) connect() (net.Conn, error) {
	c.gate <- struct{}{}
	defer func() { <-c.gate }()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(c.local)}, Timeout: 20 * time.Second, KeepAlive: -1}
	conn, err := d.Dial("tcp", c.addr)
	if err != nil {
		return nil, err
	}
	if err := c.login(conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func (c *client) login(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	const ask = "GET /rtm HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: lc.protobuf2.3\r\n\r\n"
	if _, err := io.WriteString(conn, ask); err != nil {
		return err
	}
	if err := skipHead(conn); err != nil {
		return err
	}
	if _, err := conn.Write(frame(0x82, c.open())); err != nil {
		return err
	}
	op, payload, err := readFrame(conn)
	if err != nil || op != 2 {
		return fmt.Errorf("the login was answered by frame %d: %w", op, errors.Join(err))
	}
	if token := tokenIn(payload); token != nil {
		c.token = token
	}
	return conn.SetDeadline(time.Time{})
}

// open is a login of LeanCloud's realtime protocol: by hand the first time, by token after.
func (c *client) open() []byte {
	text := func(b []byte, n byte, s string) []byte { return append(append(b, n<<3|2, byte(len(s))), s...) }
	var session []byte
	if c.token != nil {
		session = append(session, 5<<3, 1)
		session = append(session, 10<<3|2)
		session = binary.AppendUvarint(session, uint64(len(c.token)))
		session = append(session, c.token...)
	} else {
		session = text(session, 7, "device-"+c.peer)
	}
	b := []byte{0x08, 0, 0x10, 1}
	b = text(b, 3, appID)
	b = text(b, 4, c.peer)
	b = append(b, 5<<3, 1)
	b = binary.AppendUvarint(b, 102<<3|2)
	b = binary.AppendUvarint(b, uint64(len(session)))
	return append(b, session...)
}

// tokenIn finds the session token in an answer: the only long text in it.
func tokenIn(b []byte) []byte {
	for i := 0; i+2 < len(b); i++ {
		if b[i] != 10<<3|2 {
			continue
		}
		n, size := binary.Uvarint(b[i+1:])
		if size > 0 && n >= 60 && i+1+size+int(n) <= len(b) {
			return append([]byte(nil), b[i+1+size:i+1+size+int(n)]...)
		}
	}
	return nil
}

// stay answers pings until the socket breaks.
func (c *client) stay(conn net.Conn) {
	for {
		op, payload, err := readFrame(conn)
		if err != nil || op == 8 {
			return
		}
		if op == 9 {
			if _, err := conn.Write(frame(0x8A, payload)); err != nil {
				return
			}
		}
	}
}

func frame(head byte, payload []byte) []byte {
	b := []byte{head}
	if len(payload) < 126 {
		b = append(b, 0x80|byte(len(payload)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(len(payload)))
	}
	return append(append(b, 0, 0, 0, 0), payload...) // a mask of zeros
}

func readFrame(conn net.Conn) (op byte, payload []byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(conn, head[:2]); err != nil {
		return 0, nil, err
	}
	n := int(head[1])
	if n == 126 {
		if _, err := io.ReadFull(conn, head[2:]); err != nil {
			return 0, nil, err
		}
		n = int(binary.BigEndian.Uint16(head[2:]))
	}
	if n > 0 {
		payload = make([]byte, n)
		_, err = io.ReadFull(conn, payload)
	}
	return head[0] & 0x0f, payload, err
}

// skipHead reads the answer to the handshake, a byte at a time so that nothing behind it is taken.
func skipHead(conn net.Conn) error {
	var head []byte
	for !strings.HasSuffix(string(head), "\r\n\r\n") {
		var b [1]byte
		if _, err := conn.Read(b[:]); err != nil {
			return err
		}
		if head = append(head, b[0]); len(head) > 4096 {
			return errors.New("a head without end")
		}
	}
	if !strings.HasPrefix(string(head), "HTTP/1.1 101 ") {
		return fmt.Errorf("the handshake was answered %.40q", head)
	}
	return nil
}
