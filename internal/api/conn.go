package api

import (
	"context"
	"crypto/tls"
	"net"
)

type connKey struct{}

// WithConn is for http.Server.ConnContext: handlers find the connection by [Conn].
func WithConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// Conn returns the connection that a request came on, or nil when the server does not say.
func Conn(ctx context.Context) net.Conn {
	c, _ := ctx.Value(connKey{}).(net.Conn)
	return c
}

// Secure reports whether the connection that a request came on is encrypted. Its server does not
// say by [http.Request.TLS], which is for connections that net/http encrypts.
func Secure(ctx context.Context) bool {
	for c := Conn(ctx); ; {
		switch t := c.(type) {
		case interface{ ConnectionState() tls.ConnectionState }:
			return true
		case interface{ Unwrap() net.Conn }:
			c = t.Unwrap()
		default:
			return false
		}
	}
}
