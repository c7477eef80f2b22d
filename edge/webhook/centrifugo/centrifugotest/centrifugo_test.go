package centrifugotest

import (
	"strings"
	"testing"
	"time"
)

const (
	user      = "u1"
	secret    = "the-secret-of-centrifugo"
	masterKey = "theMasterKey0000000001"
	// lease is that of the source; Centrifugo asks after half of it.
	lease = 40 * time.Second
	// failed is what Centrifugo logs of a refresh that failed, or took too long on a slow machine.
	failed = "error proxying refresh"
)

// A peer whose client has connected is online from the first refresh on, stays so as long as the
// connection does, and is offline once its lease has run out.
func TestRefreshProxy(t *testing.T) {
	t.Parallel()
	server := newRollcall(t)
	im := newCentrifugo(t, server, secret)

	if got := server.status(user); got != "unknown" {
		t.Fatalf("before anything happened %s is %s", user, got)
	}
	client := im.connect()
	server.wait(user+" is online", func() bool { return server.status(user) == "online" })
	if got := server.peer(user); !strings.Contains(got, client.session) {
		t.Errorf("the connection is %s, and the peer is\n%s", client.session, got)
	}
	// The client notices none of the refreshes that follow.
	from, gone := server.count("accepted"), false
	server.wait("two more refreshes", func() bool {
		gone = gone || server.status(user) != "online"
		return server.count("accepted") >= from+2
	})
	if gone && !strings.Contains(im.logged(), failed) {
		t.Errorf("%s was not online throughout", user)
	}
	client.undisturbed()

	client.Close()
	server.wait(user+" is offline", func() bool { return server.status(user) == "offline" })
	if n := server.count("unproven") + server.count("misshapen") + server.count("failed") + server.count("ignored"); n != 0 {
		t.Errorf("%d calls were refused or ignored", n)
	}
}

// A refresh that rollcall refuses leaves the connection as it is.
func TestWrongSecretEndsNoConnection(t *testing.T) {
	t.Parallel()
	server := newRollcall(t)
	im := newCentrifugo(t, server, "another-secret")
	client := im.connect()
	server.wait("a call is refused", func() bool { return server.count("unproven") > 0 })
	im.wait("Centrifugo has noticed it", func() bool { return strings.Contains(im.logged(), failed) })
	if got := server.status(user); got != "unknown" {
		t.Errorf("%s is %s by a call that proves nothing", user, got)
	}
	client.undisturbed()
}
