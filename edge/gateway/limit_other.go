//go:build !unix

package gateway

func maxSockets() int { return 10_000 }
