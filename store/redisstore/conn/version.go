package conn

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// leastVersion is the least Redis: the first that reports writes (tracking, RESP3).
const leastVersion = 6

const product = "Redis"

// errOld: the server lacks what rollcall rests on.
var errOld = errors.New("too old")

// checkVersions refuses a Redis that is too old, wherever among the nodes it is. A node that does
// not answer is not judged.
func (c *Conn) checkVersions(ctx context.Context) error {
	for addr, n := range c.client.Nodes() {
		turn, cancel := context.WithTimeout(ctx, time.Second)
		err := checkVersion(turn, n)
		cancel()
		if errors.Is(err, errOld) {
			return fmt.Errorf("redis at %s: %w", addr, err)
		}
	}
	return nil
}

// checkVersion returns an [errOld] when a server is too old. The ability decides and not the
// number: forks of Redis have numbers of their own.
func checkVersion(ctx context.Context, c rueidis.CoreClient) error {
	err := c.Do(ctx, c.B().Arbitrary("HELLO").Build()).Error()
	if re, ok := rueidis.IsRedisErr(err); !ok || !strings.Contains(re.Error(), "unknown command") {
		return nil // known, or refused to this user, or no answer
	}
	text, err := c.Do(ctx, c.B().Info().Section("server").Build()).ToString()
	if err != nil {
		return fmt.Errorf("it does not know the command HELLO: Redis is %w; %d or newer", errOld, leastVersion)
	}
	version := infoField(text, "redis_version")
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err == nil && n >= leastVersion {
		return fmt.Errorf("it does not know the command HELLO, though it calls itself Redis %.40s: a proxy in front of it, or its settings, are %w", version, errOld)
	}
	return fmt.Errorf("%s %.40s is %w; %d or newer", product, version, errOld, leastVersion)
}
