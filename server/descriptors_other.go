//go:build !unix

package server

// maxConnections is what systems without a limit of descriptors are given.
func maxConnections() int { return 10_000 }
