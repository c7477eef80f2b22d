// Package trial reads one call of a product without a server: whether its proof is right, what it
// says, and what that would do to a peer. Nothing is kept.
package trial
