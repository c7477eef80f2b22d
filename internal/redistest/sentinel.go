package redistest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Master is the name by which the Sentinels know their primary.
const Master = "presence"

// Sentinels are a primary, a replica or two, and three Sentinels that watch them.
type Sentinels struct {
	Servers []*Server // the first starts as primary
	Addrs   []string  // of the Sentinels

	tls *TLS
	ps  []*process
	dir string
}

// NewSentinels starts a primary with replicas replicas and three Sentinels that call it lost after
// a second.
func NewSentinels(replicas int) (*Sentinels, error) {
	return (*TLS)(nil).NewSentinels(replicas)
}

// RunSentinels is NewSentinels for one test.
func RunSentinels(t testing.TB, replicas int) *Sentinels {
	t.Helper()
	s, err := NewSentinels(replicas)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func (s *Sentinels) start(k *TLS, replicas int) (err error) {
	s.tls = k
	if s.dir, err = os.MkdirTemp("", "redistest"); err != nil {
		return fmt.Errorf("make a directory for sentinel: %w", err)
	}
	primary, err := k.New()
	if err != nil {
		return err
	}
	s.Servers = append(s.Servers, primary)
	for range replicas {
		r, err := k.New("--replicaof", "127.0.0.1 "+fmt.Sprint(primary.port))
		if err != nil {
			return err
		}
		s.Servers = append(s.Servers, r)
	}
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	for _, port := range ports {
		conf := filepath.Join(s.dir, fmt.Sprint(port, ".conf"))
		text := strings.Join(k.port(port), "\n") + fmt.Sprintf("\nbind 127.0.0.1\ndir %s\nsentinel monitor %s 127.0.0.1 %d 2\n"+
			"sentinel down-after-milliseconds %s 1000\nsentinel failover-timeout %s 3000\n", s.dir, Master, primary.port, Master, Master)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			return fmt.Errorf("write the settings of a sentinel: %w", err)
		}
		p, err := start(binary(), conf, "--sentinel")
		if err != nil {
			return err
		}
		s.ps = append(s.ps, p)
		s.Addrs = append(s.Addrs, loopback(port))
	}
	return until(Patience, func() error {
		for _, addr := range s.Addrs {
			if err := s.seesAll(addr, replicas); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Sentinels) seesAll(addr string, replicas int) error {
	c, err := s.tls.dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	v, err := c.Do("SENTINEL", "MASTER", Master)
	if err != nil {
		return err
	}
	list, _ := v.([]any)
	for i := 0; i+1 < len(list); i += 2 {
		switch {
		case list[i] == "num-other-sentinels" && list[i+1] != "2":
			return fmt.Errorf("a sentinel knows %v others", list[i+1])
		case list[i] == "num-slaves" && list[i+1] != fmt.Sprint(replicas):
			return fmt.Errorf("a sentinel knows %v replicas", list[i+1])
		}
	}
	return nil
}

// Primary returns the server that the Sentinels agree on.
func (s *Sentinels) Primary() (*Server, error) {
	c, err := s.tls.dial(s.Addrs[0])
	if err != nil {
		return nil, err
	}
	defer c.Close()
	v, err := c.Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", Master)
	if err != nil {
		return nil, err
	}
	if l, ok := v.([]any); ok && len(l) == 2 {
		for _, srv := range s.Servers {
			if srv.Addr == fmt.Sprintf("%v:%v", l[0], l[1]) {
				return srv, nil
			}
		}
	}
	return nil, fmt.Errorf("the sentinels name %v, which is none of ours", v)
}

// Close ends all of them.
func (s *Sentinels) Close() {
	for _, p := range s.ps {
		p.kill()
	}
	for _, srv := range s.Servers {
		srv.Close()
	}
	_ = os.RemoveAll(s.dir)
}
