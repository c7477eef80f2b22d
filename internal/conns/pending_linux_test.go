package conns_test

import (
	"io"
	"testing"
	"time"

	"rollcall/internal/conns"
)

// A server that stops closes what is idle, and nothing on which a request is under way or has come.
func TestWhatHasComeOnAnIdleConnectionIsPending(t *testing.T) {
	p := open(t, 10)
	client, server := p.from("127.0.0.1")
	if p.Pending() {
		t.Error("a silent connection has something pending")
	}
	if _, err := client.Write([]byte("GET")); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); !p.Pending(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("bytes that were not read are not pending")
		}
	}
	if _, err := io.ReadFull(server, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	if p.Pending() {
		t.Error("bytes that were read are pending")
	}
	conns.MarkOf(server).Busy()
	if !p.Pending() {
		t.Error("a request under way is not pending")
	}
	conns.MarkOf(server).Idle()
	if p.Pending() {
		t.Error("an answered request is pending")
	}
}
