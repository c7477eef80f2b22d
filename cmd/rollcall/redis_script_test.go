package main

import (
	"github.com/rogpeppe/go-internal/testscript"

	"rollcall/internal/redistest"
)

type redisKey struct{}

// redisScript starts the Redis of a script, whose address is $REDIS, and treats it badly. "redis
// start tls" starts one that speaks only TLS; the file of its authority is $REDIS_CA.
func redisScript(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: redis start [tls]|kill|freeze|thaw")
	}
	s, _ := ts.Value(redisKey{}).(**redistest.Server)
	switch args[0] {
	case "start":
		if *s != nil {
			ts.Check((*s).Start())
			return
		}
		var k *redistest.TLS
		if len(args) == 2 && args[1] == "tls" {
			ca, err := redistest.NewCA(ts.MkAbs("."))
			ts.Check(err)
			k, err = ca.TLS()
			ts.Check(err)
			ts.Setenv("REDIS_CA", ca.File)
		}
		// It keeps what it has acknowledged over a kill.
		server, err := k.New("--appendonly", "yes", "--appendfsync", "always")
		ts.Check(err)
		ts.Defer(server.Close)
		*s = server
		ts.Setenv("REDIS", server.Addr)
	case "kill":
		(*s).Kill()
	case "freeze":
		(*s).Freeze()
	case "thaw":
		(*s).Thaw()
	default:
		ts.Fatalf("redis cannot %s", args[0])
	}
}
