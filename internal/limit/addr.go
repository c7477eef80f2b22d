package limit

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// ClientAddr returns the address of the client that sent r, without port. Only when the peer of the connection lies in
// trusted does it believe what that proxy says: the first public address of Forwarded from the right, else X-Real-IP, else
// the first public address of X-Forwarded-For from the right.
func ClientAddr(r *http.Request, trusted []netip.Prefix) string {
	socket := parseAddr(r.RemoteAddr)
	if !socket.IsValid() {
		return r.RemoteAddr
	}
	if !Within(socket, trusted) {
		return socket.String()
	}
	if a := rightmost(forwardedFor(r.Header.Values("Forwarded"))); a.IsValid() {
		return a.String()
	}
	if a := parseAddr(r.Header.Get("X-Real-Ip")); a.IsValid() {
		return a.String()
	}
	if a := rightmost(strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")); a.IsValid() {
		return a.String()
	}
	return socket.String()
}

// Address returns the address by which the sender of r is held to a rate. Only when the peer of the connection lies in trusted
// does it believe X-Forwarded-For, from the right: the first address that is none of trusted itself. Unlike [ClientAddr] it
// takes no other header, for most proxies pass those on as the client wrote them, and it takes private addresses, for
// what stands left of them may be the client's own.
func Address(r *http.Request, trusted []netip.Prefix) netip.Addr {
	return AddressOf(parseAddr(r.RemoteAddr), strings.Join(r.Header.Values("X-Forwarded-For"), ","), trusted)
}

// AddressOf is [Address] of a connection from socket whose request has the X-Forwarded-For forwarded.
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

// Socket returns the address of the peer of the connection that r came on; invalid when it is not known.
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

// forwardedFor returns the values of "for" in the order of the header's elements.
func forwardedFor(values []string) (hops []string) {
	for element := range strings.SplitSeq(strings.Join(values, ","), ",") {
		for pair := range strings.SplitSeq(element, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			if strings.EqualFold(name, "for") {
				hops = append(hops, strings.Trim(value, `"`))
			}
		}
	}
	return hops
}

// rightmost returns the first public address of hops from the right: what stands further left was written by others.
func rightmost(hops []string) netip.Addr {
	for i := len(hops) - 1; i >= 0; i-- {
		a := parseAddr(hops[i])
		if a.IsValid() && a.IsGlobalUnicast() && !a.IsPrivate() {
			return a
		}
	}
	return netip.Addr{}
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
