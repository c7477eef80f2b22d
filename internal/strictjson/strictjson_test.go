package strictjson_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"rollcall/internal/strictjson"
)

func TestCheck(t *testing.T) {
	tests := []struct {
		name, doc string
		want      error
	}{
		{"an object", ` {"a": [1, -0.5e+3, "x", true, false, null], "b": {}} `, nil},
		{"a string with escapes", `"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"`, nil},
		{"nothing", ``, strictjson.ErrSyntax},
		{"two values", `1 2`, strictjson.ErrSyntax},
		{"a comma too many", `[1,]`, strictjson.ErrSyntax},
		{"a number with a leading zero", `01`, strictjson.ErrSyntax},
		{"a number without digits", `-`, strictjson.ErrSyntax},
		{"a control character in a string", "\"\x01\"", strictjson.ErrSyntax},
		{"an unknown escape", `"\x"`, strictjson.ErrSyntax},
		{"a string that does not end", `"abc`, strictjson.ErrSyntax},
		{"a key that is no string", `{1:2}`, strictjson.ErrSyntax},
		{"a key twice", `{"a":1,"a":2}`, strictjson.ErrDuplicate},
		{"a key twice in another letter case", `{"peerId":1,"PeerID":2}`, strictjson.ErrDuplicate},
		{"a key twice, once escaped", `{"a":1,"\u0061":2}`, strictjson.ErrDuplicate},
		{"a key twice through the long s", `{"ps":1,"p\u017f":2}`, strictjson.ErrDuplicate},
		{"the same key in two objects", `[{"a":1},{"a":1}]`, nil},
		{"a key twice among many", `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"b":1}`, strictjson.ErrDuplicate},
		{"many keys", `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1}`, nil},
		{"bytes that are not UTF-8", "\"\xff\"", strictjson.ErrUTF8},
		{"half a surrogate pair", `"\ud800"`, strictjson.ErrUTF8},
		{"the other half alone", `"\udc00"`, strictjson.ErrUTF8},
		{"sixteen levels", strings.Repeat("[", 16) + strings.Repeat("]", 16), nil},
		{"seventeen levels", strings.Repeat("[", 17) + strings.Repeat("]", 17), strictjson.ErrDepth},
		{"a mountain of brackets", strings.Repeat("[", 1<<20), strictjson.ErrDepth},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := strictjson.Check([]byte(tt.doc), 16); !errors.Is(got, tt.want) || tt.want == nil && got != nil {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// What passes is JSON to encoding/json too, and what encoding/json refuses never passes.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,"x"]}`, `"\ud83d\ude00"`, `{"a":1,"A":2}`, `[[[]]]`, `01`, `{"":null}`, "\"\xff\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := strictjson.Check(b, 16)
		if valid := json.Valid(b); err == nil && !valid {
			t.Fatalf("%q passes and is not JSON", b)
		} else if valid && errors.Is(err, strictjson.ErrSyntax) {
			t.Fatalf("%q is JSON and fails: %v", b, err)
		}
	})
}
