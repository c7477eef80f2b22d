package main

import "context"

// A server is one of the things that are measured. To add one, write a file server_NAME.go with its
// start and add a line here; the order of the table is the order of the measurement and of the
// report.
type server struct {
	name  string
	about string
	start func(context.Context, *rig) (*target, error)
}

func (s server) label() string { return s.name }

const (
	nameConstant = "constant" // the floor that costs are compared with
	nameNode     = "node-recipe"
	nameEmbedded = "rollcall" // what the nodes on Redis are compared with
	nameBefore   = "rollcall-before"
)

var servers = []server{
	{nameConstant, "Go net/http that answers a constant body of the right size", startConstant},
	{nameNode, "the recipe on Node in its cheapest form: leanengine, ioredis, Redis", startNodeRecipe},
	{"node-express", "the same in the Express app of LeanCloud's template", startNodeExpress},
	{"go-recipe", "the recipe in plain Go: net/http, encoding/json, go-redis, Redis", startGoRecipe},
	{"redis-mget", "bare MGET and SET over RESP, no HTTP", startRedisMGET},
	{nameEmbedded, "rollcall serve, embedded store, synced before the answer", startRollcall},
	{"rollcall-redis", "rollcall serve on Redis, its near cache warm: all peers are in it when a window begins", startRollcallWarm},
	{"rollcall-redis-cold", "the same with a near cache that holds next to nothing", startRollcallCold},
	{"rollcall-redis-nocache", "the same without a near cache", startRollcallUncached},
}

// A target is a running server, filled and ready to be driven.
type target struct {
	name, about string // as in the table
	addr        string
	admin       string   // of rollcall: where it shows its counts
	procs       []*child // all whose CPU time and memory count
	truth       *truth
	wire        func() wire // one for each connection
	version     string
	blind       bool // its answers know nothing of peers

	// prepare brings the server into the state that its name promises, before a window and outside
	// of it; nil: it always is.
	prepare func(context.Context) error
	// cached counts what a near cache has answered and what it has not; nil: there is none to speak
	// of.
	cached func(context.Context) (hits, misses float64, err error)
}

// An absentError says that a server is not there yet, which is no fault unless it was asked for by
// name.
type absentError struct{ why string }

func (a *absentError) Error() string { return a.why }
