// Command chatserver-go is a chat server that reports its own connections to rollcall: a user is
// online while a connection of theirs lives, also through a crash of this server when they come
// back in time, and never longer than its lease.
//
// It speaks lines over TCP: the first line from a client is its name, every other goes to all. See
// README.md.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	rollcall "rollcall/client/go"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func setting(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func run(ctx context.Context) error {
	client, err := rollcall.New(rollcall.Config{
		URL: setting("ROLLCALL_URL", "http://127.0.0.1:3000"), App: os.Getenv("ROLLCALL_APP"), HookKey: os.Getenv("ROLLCALL_HOOK_KEY"),
	})
	if err != nil {
		return err
	}
	defer client.Close()
	lease, err := time.ParseDuration(setting("CHAT_LEASE", "15s"))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", setting("CHAT_LISTEN", "127.0.0.1:4000"))
	if err != nil {
		return err
	}
	// The name of this machine's chat server, and its start: after a crash the next process is
	// another node.
	node := fmt.Sprintf("%s@%d", setting("CHAT_NODE", "chat-1"), time.Now().UnixMilli())
	r := newReporter(client, node, lease)
	var work sync.WaitGroup
	work.Go(func() { r.beat(ctx) })
	work.Go(func() { r.report(ctx) })
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	log.Printf("node %s listens on %s", node, listener.Addr())

	room := &room{members: map[net.Conn]string{}}
	for {
		conn, err := listener.Accept()
		if err != nil {
			break
		}
		go room.serve(conn, r)
	}
	work.Wait()
	last, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return r.drain(last)
}

// A room is where everybody is.
type room struct {
	mu      sync.Mutex
	members map[net.Conn]string
}

// serve serves one client until it goes.
func (rm *room) serve(conn net.Conn, r *reporter) {
	defer func() { _ = conn.Close() }()
	lines := bufio.NewScanner(conn)
	if !lines.Scan() {
		return
	}
	name := lines.Text()
	if name == "" || len(name) > 256 {
		_, _ = fmt.Fprintln(conn, "! the first line is your name, of 1 to 256 bytes")
		return
	}
	session := rand.Text() // one connection, one session
	rm.mu.Lock()
	rm.members[conn] = name
	rm.mu.Unlock()
	r.connected(name, session)
	_, _ = fmt.Fprintf(conn, "* welcome, %s\n", name)

	why := "lost"
	for lines.Scan() {
		if lines.Text() == "/quit" {
			// Watchers learn it at once; of a lost connection after a moment in which it may come
			// back.
			why = "logout"
			break
		}
		rm.say(name, lines.Text())
	}
	rm.mu.Lock()
	delete(rm.members, conn)
	rm.mu.Unlock()
	r.gone(name, session, why)
}

func (rm *room) say(name, text string) {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	for conn := range rm.members {
		// A client that does not read holds up the others only shortly.
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = fmt.Fprintf(conn, "%s: %s\n", name, text)
	}
}
