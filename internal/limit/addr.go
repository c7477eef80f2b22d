package limit

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Address returns the address of the sender of r. Only when the peer of the connection lies in
// trusted does X-Forwarded-For count, from the right: the first address that is none of trusted
// itself. No other header counts, for most proxies pass those on as the client wrote them. Private
// addresses count, for what stands left of them may be the client's own.
func Address(r *http.Request, trusted []netip.Prefix) netip.Addr {
	return AddressOf(parseAddr(r.RemoteAddr), strings.Join(r.Header.Values("X-Forwarded-For"), ","), trusted)
}

// AddressOf is [Address] of a connection from socket whose request has the X-Forwarded-For
// forwarded.
func AddressOf(socket netip.Addr, forwarded string, trusted []netip.Prefix) netip.Addr {
	if forwarded == "" || !Within(socket, trusted) {
		return socket
	}
	caller := socket
	hops := strings.Split(forwarded, ",")
	for i := len(hops) - 1; i >= 0 && Within(caller, trusted); i-- {
		a := parseAddr(hops[i])
		if !a.IsValid() {
			break
		}
		caller = a
	}
	return caller
}

// Socket returns the address of the peer of the connection that r came on; invalid when it is not
// known.
func Socket(r *http.Request) netip.Addr { return parseAddr(r.RemoteAddr) }

// Remote returns the address of the peer of c; invalid when it has none.
func Remote(c net.Conn) netip.Addr {
	switch a := c.RemoteAddr().(type) {
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap().WithZone("")
	case nil:
		return netip.Addr{}
	default:
		return parseAddr(a.String())
	}
}

// Within reports whether a lies in one of prefixes.
func Within(a netip.Addr, prefixes []netip.Prefix) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// parseAddr reads an address with or without port, IPv6 with or without brackets.
func parseAddr(s string) netip.Addr {
	s = strings.TrimSpace(s)
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}
