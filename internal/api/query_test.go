package api_test

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"rollcall/internal/api"
)

// What a query says is taken whole, or refused by the name of what was not understood: nothing is
// left out in silence.
func TestQueriesAreTakenWhole(t *testing.T) {
	for _, tt := range []struct {
		raw     string
		want    url.Values // nil: refused
		refused string
	}{
		{"", url.Values{}, ""},
		{"&&", url.Values{}, ""},
		{"a=1&b=x&b=y", url.Values{"a": {"1"}, "b": {"x", "y"}}, ""},
		{"a", url.Values{"a": {""}}, ""},
		{"a=%2E%2e%2f+%3B%26", url.Values{"a": {"../ ;&"}}, ""},
		{"%61=1", url.Values{"a": {"1"}}, ""},
		{"b=%ff", url.Values{"b": {"\xff"}}, ""},
		{"a=1&a=1", nil, `the query parameter "a" is given twice`},
		{"A=1", nil, `there is no query parameter "A"; this call takes a, b`},
		{"c=1&a=1", nil, `there is no query parameter "c"`},
		{"b*=1", nil, `there is no query parameter "b*"`},
		{"=1", nil, `there is no query parameter ""`},
		{"a=%zz", nil, `the value of the query parameter "a" is not escaped as it should be: invalid URL escape "%zz"`},
		{"a=%2", nil, `the value of the query parameter "a"`},
		{"a%=1", nil, `the query parameter "a%" is not escaped`},
		{"a=1;b=2", nil, `the query has a semicolon at "a=1;b=2"`},
		{"a=1&b=2;3", nil, `the query has a semicolon at "b=2;3"`},
	} {
		got, err := api.Query(tt.raw, "a", "b*")
		switch {
		case tt.want == nil && (err == nil || !strings.HasPrefix(err.Error(), tt.refused)):
			t.Errorf("%q: %v, %v; want it refused: %s", tt.raw, got, err, tt.refused)
		case tt.want != nil && (err != nil || !maps.EqualFunc(got, tt.want, slices.Equal)):
			t.Errorf("%q: %v, %v; want %v", tt.raw, got, err, tt.want)
		}
	}
}

func FuzzQuery(f *testing.F) {
	for _, s := range []string{"a=1&b=2&b=3", "a=%2E%2E", "a;b", "%zz", "a=1&a=2", "b=%ff&&"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := api.Query(raw, "a", "b*")
		want, lenient := url.ParseQuery(raw)
		if err != nil {
			return
		}
		if lenient != nil || !maps.EqualFunc(got, want, slices.Equal) {
			t.Fatalf("%q: %v is taken, where net/url says %v, %v", raw, got, want, lenient)
		}
	})
}
