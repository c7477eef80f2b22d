package api

import (
	"context"
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
