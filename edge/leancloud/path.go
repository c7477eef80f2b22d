package leancloud

import (
	"net/url"
	"strings"
)

// functionOf splits the path of a function call: /1.1/functions/NAME, /1.1/call/NAME (typed), or
// the same under /1, or /parse/functions/NAME, where Parse Server has them. The fixed part ignores
// letter case, names do not. raw is the path as it came when path, decoded, does not say it all.
func functionOf(path, raw string) (name string, typed, ok bool) {
	if raw == "" {
		switch path {
		case "/1.1/functions/getOnOffStatus":
			return "getOnOffStatus", false, true
		case "/1.1/call/getOnOffStatus":
			return "getOnOffStatus", true, true
		}
		raw = path
	} else {
		path = ""
	}
	rest, ok := strings.CutPrefix(raw, "/")
	if !ok {
		return "", false, false
	}
	version, rest, _ := strings.Cut(rest, "/")
	if version != "1" && version != "1.1" && version != "parse" {
		return "", false, false
	}
	kind, name, _ := strings.Cut(rest, "/")
	switch {
	case strings.EqualFold(kind, "functions"):
	case version != "parse" && strings.EqualFold(kind, "call"):
		typed = true
	default:
		return "", false, false
	}
	name = strings.TrimSuffix(name, "/")
	// Escapes are decoded after splitting, so that an escaped slash is part of a name.
	if path == "" {
		if decoded, err := url.PathUnescape(name); err == nil {
			name = decoded
		}
	}
	return name, typed, true
}
