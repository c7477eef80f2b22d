package conn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redis/rueidis"

	"rollcall/presence"
)

// Unavailable makes an error of the client match [presence.ErrUnavailable].
func Unavailable(err error) error {
	if err == nil || errors.Is(err, presence.ErrUnavailable) || errors.Is(err, presence.ErrFull) {
		return err
	}
	return fmt.Errorf("%w: %w", presence.ErrUnavailable, err)
}

// IsDown reports whether err means that a primary cannot serve, as opposed to that it refuses one
// command.
func IsDown(err error) bool {
	if err == nil {
		return false
	}
	re, ok := rueidis.IsRedisErr(err)
	if !ok {
		return !rueidis.IsRedisNil(err) && !errors.Is(err, context.Canceled)
	}
	for _, code := range [...]string{"LOADING", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "BUSY ", "NOAUTH", "WRONGPASS", "MISCONF", "NOREPLICAS", "UNBLOCKED"} {
		if strings.HasPrefix(re.Error(), code) {
			return true
		}
	}
	return false
}

var ErrClosed = fmt.Errorf("%w: the store is closed", presence.ErrUnavailable)

var ErrDown = fmt.Errorf("%w: redis is down", presence.ErrUnavailable)

// IsWrongType reports whether Redis refused a command because the key is of another type.
func IsWrongType(err error) bool {
	re, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasPrefix(re.Error(), "WRONGTYPE")
}

// timedOut reports whether err means that no answer came.
func timedOut(err error) bool {
	var net net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &net) && net.Timeout()
}
