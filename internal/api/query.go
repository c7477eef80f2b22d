package api

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Query reads a raw query strictly. known are the parameters that the call takes; a name that ends
// in * may be given again and again, any other once. The error says what was not understood.
func Query(raw string, known ...string) (url.Values, error) {
	values := url.Values{}
	if raw == "" {
		return values, nil
	}
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		if strings.Contains(pair, ";") {
			return nil, fmt.Errorf("the query has a semicolon at %.64q; parameters are parted by & and a semicolon is written %%3B", pair)
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil {
			return nil, fmt.Errorf("the query parameter %.64q is not escaped as it should be: %w", rawName, err)
		}
		value, err := url.QueryUnescape(rawValue)
		if err != nil {
			return nil, fmt.Errorf("the value of the query parameter %.64q is not escaped as it should be: %w", name, err)
		}
		many := slices.Contains(known, name+"*")
		switch {
		case !many && (!slices.Contains(known, name) || strings.HasSuffix(name, "*")):
			return nil, fmt.Errorf("there is no query parameter %.64q; this call takes %s", name, list(known))
		case !many && values.Has(name):
			return nil, fmt.Errorf("the query parameter %q is given twice", name)
		}
		values[name] = append(values[name], value)
	}
	return values, nil
}

func list(known []string) string {
	if len(known) == 0 {
		return "none"
	}
	names := make([]string, len(known))
	for i, k := range known {
		names[i] = strings.TrimSuffix(k, "*")
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
