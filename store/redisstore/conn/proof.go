package conn

import "time"

// provenFor is how long the proof of a link lasts for the near cache. A link proves itself every
// second; one that has not for longer is silent, or this process did not run.
const provenFor = 3 * time.Second

// prove computes until when the links that are up are proven.
func (c *Conn) prove() {
	until := int64(1<<63 - 1)
	for _, k := range c.Links() {
		if k.epoch().Up() {
			until = min(until, k.receivedAt.Load()+provenFor.Milliseconds())
		}
	}
	c.provenUntil.Store(until)
}

// Unproven reports whether a link that is called up has proven nothing for too long, as when this
// process has slept: then the near cache does not answer, and Redis is asked.
func (c *Conn) Unproven() bool {
	return c.tracking.Load() && c.Millis() > c.provenUntil.Load()
}

// Proven reports whether the cache may answer for what hangs on the link k.
func (k *Link) Proven() bool {
	return !k.c.tracking.Load() ||
		k.epoch().Up() && k.c.Millis() <= k.receivedAt.Load()+provenFor.Milliseconds()
}

// ProvenFor reports whether the links that are up are proven for at least d from now.
func (c *Conn) ProvenFor(d time.Duration) bool {
	return c.provenUntil.Load() > c.Millis()+d.Milliseconds()
}

// Slept makes the links look as if this process had not run for d. It is for tests.
func (c *Conn) Slept(d time.Duration) {
	for _, k := range c.Links() {
		k.receivedAt.Store(c.Millis() - d.Milliseconds())
	}
	c.prove()
}
