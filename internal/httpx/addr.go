package httpx

import (
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
	if !within(socket, trusted) {
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

// Caller returns the address by which the sender of r is held to a rate. Only when the peer of the connection lies in trusted
// does it believe X-Forwarded-For, from the right: the first address that is none of trusted itself. Unlike [ClientAddr] it
// takes no other header, for most proxies pass those on as the client wrote them, and it takes private addresses, for
// what stands left of them may be the client's own.
func Caller(r *http.Request, trusted []netip.Prefix) netip.Addr {
	caller := parseAddr(r.RemoteAddr)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && within(caller, trusted); i-- {
		a := parseAddr(hops[i])
		if !a.IsValid() {
			break
		}
		caller = a
	}
	return caller
}

func within(a netip.Addr, prefixes []netip.Prefix) bool {
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
