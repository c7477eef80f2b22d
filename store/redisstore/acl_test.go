package redisstore_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
)

// TestACL runs with the rights that docs/redis.md gives, and no more.
func TestACL(t *testing.T) {
	doc, err := os.ReadFile("../../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?s)ACL SETUSER (.*?)\n` + "```").FindSubmatch(doc)
	if m == nil {
		t.Fatal("docs/redis.md has no ACL line")
	}
	rights := strings.Fields(strings.ReplaceAll(string(m[1]), "\\\n", " "))
	server := redistest.Run(t)
	server.Do(t, append([]string{"ACL", "SETUSER"}, rights...)...)
	password := ""
	for _, r := range rights {
		if p, ok := strings.CutPrefix(r, ">"); ok {
			password = p
		}
	}
	n := startNode(t, config("redis://"+rights[0]+":"+password+"@"+server.Addr), "n")
	if err := n.report(n.hook(presence.KindOnline, "tom"), n.socket(presence.KindOnline, "ann"), n.hook(presence.KindOnline, "bob"),
		n.hook(presence.KindOffline, "bob")); err != nil {
		t.Fatal(err)
	}
	n.see(patience, presence.Online, "tom", "ann")
	n.see(patience, presence.Unknown, "eve")
	server.Do(t, "SET", "onOffStatus:old", "0", "EX", "1000")
	n.see(patience, presence.Offline, "bob", "old")
	ctx := t.Context()
	far := n.st.Now().Add(30 * 24 * time.Hour)
	if _, err := n.st.Counts(ctx, "app", n.st.Now()); err != nil {
		t.Error(err)
	}
	if peers, _, err := n.st.List(ctx, "app", "", 10, n.st.Now()); err != nil || len(peers) != 2 {
		t.Errorf("listed are %v, %v; want tom and ann", peers, err)
	}
	if _, err := n.st.Audit(ctx, n.st.Now()); err != nil {
		t.Error(err)
	}
	if _, err := n.svc.Sweep(ctx, far); err != nil {
		t.Error(err)
	}
	if st := n.st.Stats(); st["links_up"] != 1 || st["outages"] != 0 {
		t.Errorf("with these rights: %v", st)
	}
	if log, _ := server.Do(t, "ACL", "LOG").([]any); len(log) != 0 {
		t.Errorf("redis refused something: %v", log)
	}
}
