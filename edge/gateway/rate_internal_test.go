package gateway

import (
	"net/netip"
	"testing"
	"time"
)

func TestTwentyThousandConnectsAMinuteFromOneAddress(t *testing.T) {
	a := newLimits(Config{ConnectRate: 6000})
	one, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	in, quiet := 0, 0
	for i := range 20_000 {
		now := time.Duration(i) * time.Minute / 20_000
		if a.connect(one, now) {
			in++
		}
		if i%100 == 0 && a.connect(other, now) {
			quiet++
		}
	}
	if in < 8900 || in > 9100 {
		t.Errorf("%d of 20,000 are let in, want 6,000 and a burst of 3,000", in)
	}
	if quiet != 200 {
		t.Errorf("%d of 200 of a quiet address are let in", quiet)
	}
}

func TestAddressesOfOneNetworkCountAsOne(t *testing.T) {
	a := newLimits(Config{ConnectRate: 20})
	in := 0
	for i := range 100 {
		b := netip.MustParseAddr("2001:db8::").As16()
		b[15] = byte(i)
		if a.connect(netip.AddrFrom16(b), 0) {
			in++
		}
	}
	if in != 10 {
		t.Errorf("%d of 100 addresses of one /64 are let in, want 10", in)
	}
}

func TestTheTableOfAddressesIsBoundedAndForgets(t *testing.T) {
	a := newLimits(Config{ConnectRate: 60})
	for i := range 2 * maxAddresses {
		b := [4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}
		a.connect(netip.AddrFrom4(b), 0)
	}
	if n := len(a.addresses); n > maxAddresses {
		t.Errorf("%d addresses are held", n)
	}
	a.connect(netip.MustParseAddr("192.0.2.1"), 10*time.Minute)
	if n := len(a.addresses); n != 1 {
		t.Errorf("%d addresses are held ten minutes later, want the last", n)
	}
}

func newLimits(cfg Config) *limits {
	l := &limits{}
	l.init(&cfg)
	return l
}

// What is known is limited generously, what is not is limited hard, by address and by app.
func TestLoginsAreHeldToARate(t *testing.T) {
	cfg := DefaultConfig()
	one, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	l := newLimits(cfg)
	for i := range 18_000 { // all clients of a server come back behind one address in four seconds
		if !l.login("app", one, time.Duration(i)*4*time.Second/18_000) {
			t.Fatalf("login %d is refused", i)
		}
	}
	known, fresh := 0, 0
	for i := range 18_000 {
		now := time.Hour + time.Duration(i)*21*time.Second/18_000
		if l.login("app", one, now) {
			known++
		}
		if l.freshLeft("app", one, now) {
			l.fresh("app", one, now)
			fresh++
		}
	}
	if known != 18_000 || fresh < 1500 || fresh > 1620 {
		t.Errorf("of 18,000 in 21 s %d known and %d unknown ones are let in, want all and 1,500 with 300 a minute more", known, fresh)
	}
	if !l.freshLeft("app", other, time.Hour) {
		t.Error("an address has no room because of another")
	}
	l = newLimits(cfg)
	byApp := 0
	for i := range 60_000 {
		addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		if l.freshLeft("app", addr, time.Hour) {
			l.fresh("app", addr, time.Hour)
			byApp++
		}
	}
	if byApp != 30_000 || !l.freshLeft("another", netip.MustParseAddr("198.51.100.1"), time.Hour) {
		t.Errorf("%d unknown ones of an app are let in at once, want 30,000; another app has its own", byApp)
	}
}
