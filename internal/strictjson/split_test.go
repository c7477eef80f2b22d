package strictjson_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"rollcall/internal/strictjson"
)

func TestSplit(t *testing.T) {
	deep := strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000)
	tests := []struct {
		name, doc string
		want      string // the elements, or how many there are when negative
		err       error
	}{
		{"elements as they are", ` {"a":[1, {"x":[2,{}]} ,"s",null,[]] } `, `[1 {"x":[2,{}]} "s" null []] 5`, nil},
		{"an empty list", `{"a":[]}`, `[] 0`, nil},
		{"other members before and behind", `{"b":{"a":[1]},"A":[7],"c":"]"}`, `[7] 1`, nil},
		{"a key with escapes", `{"\u0061":[7]}`, `[7] 1`, nil},
		{"an element with half a surrogate pair", `{"a":["\ud83d",2]}`, `["\ud83d" 2] 2`, nil},
		{"an element that is not UTF-8", "{\"a\":[\"\xff\",2]}", "[\"\xff\" 2] 2", nil},
		{"an element with a key twice", `{"a":[{"x":1,"x":2},3]}`, `[{"x":1,"x":2} 3] 2`, nil},
		{"a deep element", `{"a":[` + deep + `,2]}`, `[` + deep + ` 2] 2`, nil},
		{"half a surrogate pair beside it", `{"z":"\ud800","a":[1]}`, `[1] 1`, nil},
		{"half a surrogate pair in a key beside it", `{"\ud800":{"a":2},"a":[1]}`, `[1] 1`, nil},
		{"bytes that are not UTF-8 beside it", "{\"z\xff\":\"\xff\",\"a\":[1]}", `[1] 1`, nil},
		{"a deep value beside it", `{"z":` + deep + `,"a":[1]}`, `[1] 1`, nil},
		{"a key twice that is not read", `{"z":1,"z":{"y":1,"y":2},"a":[1]}`, `[1] 1`, nil},
		{"another key twice that is read", `{"time":1,"Time":2,"a":[1]}`, ``, strictjson.ErrDuplicate},
		{"more than are wanted", `{"a":[1,2,3,4,5,6,7]}`, `[1 2 3 4 5] 7`, nil},
		{"missing", `{"b":[1]}`, `[] -1`, nil},
		{"null", `{"a":null}`, `[] -1`, nil},
		{"nothing in it", `{}`, `[] -1`, nil},
		{"the list twice", `{"a":[1],"A":[2]}`, ``, strictjson.ErrDuplicate},
		{"no list", `{"a":"x"}`, ``, strictjson.ErrShape},
		{"no object", `[1]`, ``, strictjson.ErrShape},
		{"cut short", `{"a":[1,2`, ``, strictjson.ErrSyntax},
		{"a comma too many", `{"a":[1,]}`, ``, strictjson.ErrSyntax},
		{"no comma", `{"a":[1 2]}`, ``, strictjson.ErrSyntax},
		{"brackets that cross", `{"a":[{]}]}`, ``, strictjson.ErrSyntax},
		{"no colon", `{"a":[{"x" 1}]}`, ``, strictjson.ErrSyntax},
		{"a key that is no string", `{"a":[{1:1}]}`, ``, strictjson.ErrSyntax},
		{"a control character in a string", "{\"a\":[\"\x01\"]}", ``, strictjson.ErrSyntax},
		{"an unknown escape", `{"a":["\x"]}`, ``, strictjson.ErrSyntax},
		{"two values", `{"a":[]} {}`, ``, strictjson.ErrSyntax},
		{"nothing", ``, ``, strictjson.ErrSyntax},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list, n, err := strictjson.Split([]byte(tt.doc), "a", 5, "time")
			if !errors.Is(err, tt.err) || tt.err == nil && err != nil {
				t.Fatalf("got %v, want %v", err, tt.err)
			}
			if got := fmt.Sprintf("%s %d", list, n); err == nil && got != tt.want {
				t.Errorf("got %.200s, want %.200s", got, tt.want)
			}
		})
	}
}

// An error names the member of the outermost object that it is in.
func TestCheckNamesTheMember(t *testing.T) {
	for doc, want := range map[string]string{
		`{"a":1,"b":"\ud83d"}`: "b", `{"a":{"x":{"y":"\ud83d"}},"b":1}`: "a", `{"a":1,"a":2}`: "a", `["\ud83d"]`: "", `{"a":1`: "a",
	} {
		var at *strictjson.Error
		if err := strictjson.Check([]byte(doc), 16); !errors.As(err, &at) || at.Member != want {
			t.Errorf("%s: %v in %q, want in %q", doc, err, at.Member, want)
		}
	}
}

// Of what encoding/json takes for JSON nothing is refused for its syntax, and the elements are the
// same.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{`{"a":[1,{"x":[]},"s"]}`, `{"A":[[[]]]}`, `{"a":["\ud83d"]}`, `{"b":{"a":1},"a":[{"x":1,"x":2}]}`, `{"a":null}`, `[1]`, `{"\ud800":1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list, n, err := strictjson.Split(b, "a", 1<<20)
		valid := json.Valid(b)
		switch {
		case err == nil && !valid:
			// encoding/json goes only so deep.
			if strings.Count(string(b), "[")+strings.Count(string(b), "{") < 10_000 {
				t.Fatalf("%q passes and is not JSON", b)
			}
		case errors.Is(err, strictjson.ErrSyntax) && valid:
			t.Fatalf("%q is JSON and fails: %v", b, err)
		case err == nil && n >= 0 && n != len(list):
			t.Fatalf("%d of %d elements", len(list), n)
		}
		for _, e := range list {
			if !json.Valid(e) && strings.Count(string(e), "[")+strings.Count(string(e), "{") < 10_000 {
				t.Fatalf("the element %q of %q is not JSON", e, b)
			}
		}
	})
}
