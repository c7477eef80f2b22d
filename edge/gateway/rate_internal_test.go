package gateway

import (
	"net/netip"
	"testing"
	"time"
)

func TestTwentyThousandConnectsAMinuteFromOneAddress(t *testing.T) {
	var a addresses
	one, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	in, quiet := 0, 0
	for i := range 20_000 {
		now := time.Duration(i) * time.Minute / 20_000
		if a.take(one, now, 6000) {
			in++
		}
		if i%100 == 0 && a.take(other, now, 6000) {
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
	var a addresses
	in := 0
	for i := range 100 {
		b := netip.MustParseAddr("2001:db8::").As16()
		b[15] = byte(i)
		if a.take(netip.AddrFrom16(b), 0, 20) {
			in++
		}
	}
	if in != 10 {
		t.Errorf("%d of 100 addresses of one /64 are let in, want 10", in)
	}
}

func TestTheTableOfAddressesIsBoundedAndForgets(t *testing.T) {
	var a addresses
	for i := range 2 * maxAddresses {
		b := [4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}
		a.take(netip.AddrFrom4(b), 0, 60)
	}
	if n := len(a.rates); n > maxAddresses {
		t.Errorf("%d addresses are held", n)
	}
	a.take(netip.MustParseAddr("192.0.2.1"), 10*time.Minute, 60)
	if n := len(a.rates); n != 1 {
		t.Errorf("%d addresses are held ten minutes later, want the last", n)
	}
}
