package redistest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// A Cluster is some primaries, each with one replica.
type Cluster struct {
	Servers []*Server // the primaries, then the replicas in the same order
}

// NewCluster starts a cluster of primaries, each with a replica when replicas is set. A server that
// is silent for two seconds is taken for dead.
func NewCluster(primaries int, replicas bool) (*Cluster, error) {
	return (*TLS)(nil).NewCluster(primaries, replicas)
}

// RunCluster is NewCluster for one test.
func RunCluster(t testing.TB, primaries int, replicas bool) *Cluster {
	t.Helper()
	c, err := NewCluster(primaries, replicas)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (c *Cluster) start(k *TLS, primaries int, replicas bool) error {
	n := primaries
	if replicas {
		n *= 2
	}
	ports, err := freePorts(2 * n)
	if err != nil {
		return err
	}
	for i := range n {
		args := []string{
			"--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(ports[n+i]),
			"--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no", "--cluster-replica-validity-factor", "0",
		}
		if k != nil {
			args = append(args, "--tls-cluster", "yes")
		}
		s, err := newOn(k, ports[i], args...)
		if err != nil {
			return err
		}
		c.Servers = append(c.Servers, s)
	}
	for i := range primaries {
		from, to := i*16384/primaries, (i+1)*16384/primaries-1
		if _, err := c.Servers[i].Try("CLUSTER", "ADDSLOTSRANGE", fmt.Sprint(from), fmt.Sprint(to)); err != nil {
			return err
		}
		if _, err := c.Servers[i].Try("CLUSTER", "SET-CONFIG-EPOCH", fmt.Sprint(i+1)); err != nil {
			return err
		}
	}
	for i := 1; i < n; i++ {
		if _, err := c.Servers[i].Try("CLUSTER", "MEET", "127.0.0.1", fmt.Sprint(ports[0]), fmt.Sprint(ports[n])); err != nil {
			return err
		}
	}
	for i := primaries; i < n; i++ {
		if err := c.replicate(c.Servers[i], c.Servers[i-primaries]); err != nil {
			return err
		}
	}
	return until(Patience, func() error { return c.healthy(n, primaries) })
}

func (c *Cluster) replicate(replica, primary *Server) error {
	id, err := primary.Try("CLUSTER", "MYID")
	if err != nil {
		return err
	}
	return until(Patience, func() error {
		_, err := replica.Try("CLUSTER", "REPLICATE", fmt.Sprint(id))
		return err
	})
}

func (c *Cluster) healthy(nodes, primaries int) error {
	for _, s := range c.Servers {
		v, err := s.Try("CLUSTER", "INFO")
		if err != nil {
			return err
		}
		text, _ := v.(string)
		// A state of ok does not say that it knows who has every slot: full coverage is not
		// required.
		if infoField(text, "cluster_state") != "ok" || infoField(text, "cluster_known_nodes") != fmt.Sprint(nodes) ||
			infoField(text, "cluster_slots_ok") != "16384" {
			return errors.New("the cluster has not come together")
		}
		v, err = s.Try("CLUSTER", "NODES")
		if err != nil {
			return err
		}
		if list, _ := v.(string); strings.Count(list, "slave") != nodes-primaries {
			return errors.New("the replicas have not taken their place")
		}
	}
	for _, s := range c.Servers[primaries:] {
		v, err := s.Try("INFO", "replication")
		if err != nil {
			return err
		}
		if text, _ := v.(string); infoField(text, "master_link_status") != "up" {
			return errors.New("a replica has no link to its primary")
		}
	}
	return nil
}

// AwaitWell waits until every server that runs calls all others well: one that was away is not
// taken back at once.
func (c *Cluster) AwaitWell(t testing.TB) {
	t.Helper()
	err := until(Patience, func() error {
		for _, s := range c.Servers {
			if !s.Running() {
				continue
			}
			v, err := s.Try("CLUSTER", "NODES")
			if err != nil {
				return err
			}
			if list, _ := v.(string); strings.Contains(list, "fail") {
				return fmt.Errorf("%s calls a node lost", s.Addr)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Addrs returns the addresses of all servers.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, s := range c.Servers {
		addrs = append(addrs, s.Addr)
	}
	return addrs
}

// Primaries returns the servers that are primaries now, as they themselves say.
func (c *Cluster) Primaries() []*Server {
	var list []*Server
	for _, s := range c.Servers {
		if !s.Running() {
			continue
		}
		v, err := s.Try("ROLE")
		if l, ok := v.([]any); err == nil && ok && len(l) > 0 && l[0] == "master" {
			list = append(list, s)
		}
	}
	return list
}

// Close ends all of them.
func (c *Cluster) Close() {
	for _, s := range c.Servers {
		s.Close()
	}
}
