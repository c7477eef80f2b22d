package configload_test

import (
	"testing"

	"rollcall/internal/configload"
)

func TestAnEntryIsFoundByItsIDOrAdded(t *testing.T) {
	type app struct{ ID, Key string }
	type conf struct{ Apps []app }
	c := conf{Apps: []app{{ID: "a", Key: "old"}}}
	l := configload.New(&c)
	for _, step := range []struct{ id, entry, key string }{{"a", "apps[0]", "new"}, {"b", "apps[1]", "other"}, {"a", "apps[0]", "newest"}} {
		at := l.Entry("apps", "id", step.id, "A_VARIABLE")
		if at != step.entry {
			t.Fatalf("%s is %s, want %s", step.id, at, step.entry)
		}
		l.Set(at+".key", step.key, "A_VARIABLE")
	}
	if err := l.Err(); err != nil || len(c.Apps) != 2 || c.Apps[0] != (app{"a", "newest"}) || c.Apps[1] != (app{"b", "other"}) {
		t.Errorf("got %+v, %v", c.Apps, err)
	}
}
