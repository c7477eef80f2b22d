package record

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"rollcall/edge/webhook"
)

const struck = webhook.Struck

// A name is struck when it contains one of parts, whatever stands between its words, or when one of
// its words is one of words. "sign" is in "assigned" and in "design", so it is a word.
var (
	parts = []string{
		"secret", "passw", "passphrase", "token", "signature", "checksum", "cookie", "credential", "authoriz", "authenti", "usersig",
		"apikey", "accesskey", "privatekey", "masterkey", "hookkey", "sessionkey",
		"ipaddr", "clientip", "remoteip", "realip", "userip", "peername", "sockname", "hostname", "remoteaddr", "forwarded",
	}
	words = map[string]bool{
		"auth": true, "sign": true, "sig": true, "security": true, "pass": true, "pwd": true, "md5": true, "hmac": true, "jwt": true, "otp": true,
		"ip": true, "ips": true, "host": true, "via": true, "addr": true, "address": true, "mac": true,
	}
)

// named reports whether what has this name is struck whole.
func named(name string) bool {
	list := split(name)
	joined := strings.Join(list, "")
	for _, p := range parts {
		if strings.Contains(joined, p) {
			return true
		}
	}
	for _, w := range list {
		if words[w] || words[strings.TrimSuffix(w, "s")] || words[strings.TrimSuffix(w, "es")] {
			return true
		}
	}
	return false
}

// split returns the words of a name in lower case: those of clientIP, client_ip and Client-Ip are
// client and ip.
func split(name string) []string {
	var list []string
	var word []rune
	end := func() {
		if len(word) > 0 {
			list, word = append(list, strings.ToLower(string(word))), nil
		}
	}
	runes := []rune(name)
	for i, r := range runes {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			end()
			continue
		}
		begins := unicode.IsUpper(r) && i > 0 && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]))
		if begins {
			end()
		}
		word = append(word, r)
	}
	end()
	return list
}

var (
	ipv4   = regexp.MustCompile(`(?:[0-9]{1,3}\.){3}[0-9]{1,3}`)
	colons = regexp.MustCompile(`[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*`)
	mac    = regexp.MustCompile(`^(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$`)
	jwt    = regexp.MustCompile(`eyJ[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+\.[0-9A-Za-z_-]*`)
	scheme = regexp.MustCompile(`(?i)\b(bearer|basic)\s+[^\s"',;]+`)
	user   = regexp.MustCompile(`://[^/@\s]*@`)
	params = regexp.MustCompile(`[?&][^=&\s?]+=[^&\s"#]*`)
)

// A striker strikes what a value holds wherever it stands.
type striker struct{ secrets []string }

func newStriker(s *webhook.Source) *striker { return &striker{s.Secrets()} }

// text returns s without secrets and addresses.
func (k *striker) text(s string) string {
	for _, secret := range k.secrets {
		s = strings.ReplaceAll(s, secret, struck)
	}
	if len(s) < len("::1a") {
		return s
	}
	s = user.ReplaceAllString(s, "://"+struck+"@")
	s = params.ReplaceAllStringFunc(s, func(p string) string {
		name, _, _ := strings.Cut(p[1:], "=")
		if plain, err := url.QueryUnescape(name); err == nil && !named(plain) {
			return p
		}
		return p[:1+len(name)] + "=" + struck
	})
	s = jwt.ReplaceAllString(s, struck)
	s = scheme.ReplaceAllString(s, "$1 "+struck)
	s = colons.ReplaceAllStringFunc(s, func(a string) string {
		trimmed := strings.Trim(a, ".")
		if _, err := netip.ParseAddr(trimmed); !mac.MatchString(trimmed) && (err != nil || digits(trimmed) < 5) {
			return a
		}
		return struck
	})
	return ipv4.ReplaceAllStringFunc(s, func(a string) string {
		if _, err := netip.ParseAddr(a); err != nil {
			return a
		}
		return struck
	})
}

// digits counts the hexadecimal digits of an address: "1::a" is more often part of an id.
func digits(s string) int { return len(s) - strings.Count(s, ":") - strings.Count(s, ".") }

// value returns v, which stands under a name.
func (k *striker) value(name, v string) string {
	if v != "" && named(name) {
		return struck
	}
	return k.text(v)
}

// part returns one part of a path. What looks drawn at random is a secret of the address.
func (k *striker) part(p string) string {
	const drawn = 12
	if len(p) >= drawn && strings.ContainsAny(p, "0123456789") && strings.ContainsFunc(p, unicode.IsLetter) {
		return struck
	}
	return k.text(p)
}

// form returns the parameters of a query or a form.
func (k *striker) form(in url.Values) string {
	out := url.Values{}
	for name, values := range in {
		for _, v := range values {
			out.Add(k.text(name), k.value(name, v))
		}
	}
	return readable(out.Encode())
}

// readable writes the mark as it is, which every part of an address may hold.
func readable(escaped string) string {
	return strings.ReplaceAll(escaped, url.QueryEscape(struck), struck)
}
