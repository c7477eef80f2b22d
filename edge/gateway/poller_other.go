//go:build !linux

package gateway

import (
	"errors"
	"syscall"
)

// A poller waits for many sockets at once; this system has none that we know, and every socket has
// a goroutine.
type poller struct{}

func newPoller(*Gateway) (*poller, error) { return nil, nil }

func (p *poller) rawOf(any) (syscall.RawConn, bool) { return nil, false }
func (p *poller) add(*Socket) error                 { return errors.ErrUnsupported }
func (p *poller) remove(*Socket)                    {}
func (p *poller) run()                              {}
func (p *poller) close() error                      { return nil }
func (p *poller) release() error                    { return nil }
