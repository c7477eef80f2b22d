package main

import "context"

// A server is one of the things that are measured. To add one, write a file server_NAME.go with its start and add a
// line here; the order of the table is the order of the measurement and of the report.
type server struct {
	name  string
	about string
	start func(context.Context, *rig) (*target, error)
}

func (s server) label() string { return s.name }

const (
	nameConstant = "constant" // the floor that costs are compared with
	nameNode     = "node-recipe"
)

var servers = []server{
	{nameConstant, "Go net/http that answers a constant body of the right size", startConstant},
	{nameNode, "the recipe on Node in its cheapest form: leanengine, ioredis, Redis", startNodeRecipe},
	{"node-express", "the same in the Express app of LeanCloud's template", startNodeExpress},
	{"go-recipe", "the recipe in plain Go: net/http, encoding/json, go-redis, Redis", startGoRecipe},
	{"redis-mget", "bare MGET and SET over RESP, no HTTP", startRedisMGET},
	{"rollcall", "rollcall serve, embedded store, synced before the answer", startRollcall},
	{"rollcall-redis", "rollcall serve on Redis, all peers in its near cache", startRollcallWarm},
	{"rollcall-redis-cold", "the same with a near cache that holds next to nothing", startRollcallCold},
	{"rollcall-redis-nocache", "the same without a near cache", startRollcallUncached},
}

// A target is a running server, filled and ready to be driven.
type target struct {
	name, about string // as in the table
	addr        string
	procs       []*child // all whose CPU time and memory count
	truth       *truth
	wire        func() wire // one for each connection
	version     string
	blind       bool // its answers know nothing of peers
}

// An absentError says that a server is not there yet, which is no fault unless it was asked for by name.
type absentError struct{ why string }

func (a *absentError) Error() string { return a.why }
