package sse

import (
	"net"
	"net/http"
	"syscall"

	"rollcall/internal/api"
)

// kernelBuffer is how much the kernel may hold for a stream. Left alone it grows to megabytes, and
// a reader that stopped would be noticed only when they are full. Linux doubles it.
const kernelBuffer = 64 << 10

// A queue is what the kernel holds for one reader that has not taken it yet.
type queue struct {
	tcp   *net.TCPConn    // nil: cannot be asked
	raw   syscall.RawConn // of tcp
	plain bool            // what is written to tcp is what the reader gets
}

// queueOf returns the queue below r. A connection that carries other streams too cannot be asked
// about one of them.
func queueOf(r *http.Request) queue {
	tcp, plain, ok := socketBelow(api.Conn(r.Context()))
	if !ok || r.ProtoMajor != 1 {
		return queue{}
	}
	_ = tcp.SetWriteBuffer(kernelBuffer) // without it the reader is only noticed later
	if !canAsk {
		return queue{}
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return queue{}
	}
	return queue{tcp, raw, plain}
}

// socketBelow returns the socket under what guards or encrypts it; plain says that nothing
// encrypts.
func socketBelow(c net.Conn) (tcp *net.TCPConn, plain, ok bool) {
	plain = true
	for {
		switch t := c.(type) {
		case *net.TCPConn:
			return t, plain, true
		case interface{ NetConn() net.Conn }: // TLS
			c, plain = t.NetConn(), false
		case interface{ Unwrap() net.Conn }:
			c = t.Unwrap()
		default:
			return nil, false, false
		}
	}
}
