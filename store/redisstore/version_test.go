package redisstore_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"rollcall/internal/redistest"
	"rollcall/store/redisstore"
)

// ancient answers as a Redis without HELLO and tracking does; info is what it says of itself, and
// addr its own address, once known.
func ancient(info string, addr *string) func([]string) string {
	return func(args []string) string {
		switch args[0] {
		case "PING":
			return "+PONG\r\n"
		case "AUTH":
			if len(args) > 2 {
				return "-ERR wrong number of arguments for 'auth' command\r\n"
			}
			return "+OK\r\n"
		case "SELECT", "SET", "READONLY":
			return "+OK\r\n"
		case "CLIENT":
			if strings.EqualFold(args[1], "setname") {
				return "+OK\r\n"
			}
			return "-ERR Unknown subcommand or wrong number of arguments for '" + args[1] + "'. Try CLIENT HELP\r\n"
		case "INFO":
			if len(args) > 2 {
				return "-ERR syntax error\r\n"
			}
			return redistest.Bulk(info)
		case "GET":
			return "$-1\r\n"
		case "TIME":
			return redistest.Array(redistest.Bulk("1764000000"), redistest.Bulk("0"))
		case "ROLE":
			return redistest.Array(redistest.Bulk("master"), ":0\r\n", redistest.Array())
		case "CONFIG":
			return redistest.Array(redistest.Bulk("maxmemory-policy"), redistest.Bulk("noeviction"))
		case "CLUSTER":
			host, port, _ := strings.Cut(*addr, ":")
			return redistest.Array(redistest.Array(":0\r\n", ":16383\r\n", redistest.Array(redistest.Bulk(host), ":"+port+"\r\n", redistest.Bulk("id"))))
		}
		return ""
	}
}

// sentinelFor answers as a Sentinel, itself as old, that knows one master.
func sentinelFor(master string) func([]string) string {
	host, port, _ := strings.Cut(master, ":")
	return func(args []string) string {
		switch {
		case args[0] == "PING":
			return "+PONG\r\n"
		case args[0] == "CLIENT":
			return "+OK\r\n"
		case args[0] == "SENTINEL" && strings.EqualFold(args[1], "get-master-addr-by-name"):
			return redistest.Array(redistest.Bulk(host), redistest.Bulk(port))
		case args[0] == "SENTINEL":
			return redistest.Array()
		case args[0] == "SUBSCRIBE" || args[0] == "PSUBSCRIBE":
			answer := ""
			for i, a := range args[1:] {
				answer += redistest.Array(redistest.Bulk(strings.ToLower(args[0])), redistest.Bulk(a), ":"+strconv.Itoa(i+1)+"\r\n")
			}
			return answer
		}
		return ""
	}
}

// TestOldRedisIsRefusedByName: whatever the road to it, a Redis that lacks what rollcall rests on
// is named with its version, and starting again cannot help.
func TestOldRedisIsRefusedByName(t *testing.T) {
	const five = "# Server\r\nredis_version:5.0.14\r\nredis_mode:standalone\r\nrun_id:0123\r\n# Replication\r\nrole:master\r\nmaster_replid:4567\r\n"
	run := func(t *testing.T, info string) string {
		var addr string
		s := redistest.RunScripted(t, ancient(info, &addr))
		addr = s.Addr
		return s.Addr
	}
	tests := []struct {
		name string
		url  func(t *testing.T) string
		want string
	}{
		{"standalone", func(t *testing.T) string { return "redis://" + run(t, five) }, "Redis 5.0.14 is too old; 6 or newer"},
		{"with a password", func(t *testing.T) string { return "redis://:secret@" + run(t, five) + "/2" }, "Redis 5.0.14 is too old; 6 or newer"},
		{"with a user", func(t *testing.T) string { return "redis://me:secret@" + run(t, five) }, "takes no user name, as Redis older than 6"},
		{"a cluster", func(t *testing.T) string { a := run(t, five); return "redis://" + a + "," + a }, "Redis 5.0.14 is too old; 6 or newer"},
		{"behind a sentinel", func(t *testing.T) string {
			return "redis+sentinel://" + redistest.RunScripted(t, sentinelFor(run(t, five))).Addr + "/mymaster"
		}, "Redis 5.0.14 is too old; 6 or newer"},
		{"much older", func(t *testing.T) string { return "redis://" + run(t, strings.Replace(five, "5.0.14", "2.8.19", 1)) }, "Redis 2.8.19 is too old; 6 or newer"},
		{"a proxy in front of a new one", func(t *testing.T) string {
			return "redis://" + run(t, strings.Replace(five, "5.0.14", "7.0.15", 1))
		}, "does not know the command HELLO, though it calls itself Redis 7.0.15"},
		{"a fork without a version", func(t *testing.T) string { return "redis://" + run(t, "server:other\r\n") }, "is too old; 6 or newer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			st, err := config(tt.url(t)).Open(t.Context())
			if err == nil {
				_ = st.Close()
				t.Fatal("it starts")
			}
			var no *redisstore.OpenError
			if !errors.As(err, &no) || !no.Settings || no.Hint == "" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("refused with %v (%+v), want %q and a hint", err, no, tt.want)
			}
			if strings.Contains(fmt.Sprintf("%v %v", err, no), "secret") {
				t.Errorf("the refusal shows the password: %v", err)
			}
		})
	}
}
