// Command onoffstatus is a user of the app, see README.md: it takes the name and the friends, is
// present by rollcall's own socket, is notified of the friends instead of asking, and prints what
// changes.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	rollcall "rollcall/client/go"
)

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: onoffstatus NAME FRIEND...")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1], os.Args[2:])
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

// run returns when ctx ends, which logs the user out, or when a retry cannot help.
func run(ctx context.Context, name string, friends []string) error {
	client, err := rollcall.New(rollcall.Config{
		URL: cmp.Or(os.Getenv("SERVER"), "http://127.0.0.1:3000"), App: os.Getenv("LEANCLOUD_APP_ID"), Key: os.Getenv("LEANCLOUD_APP_KEY"),
	})
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	present := make(chan error, 1)
	go func() {
		defer cancel()
		present <- client.Present(ctx, rollcall.Presence{Peer: name})
	}()
	err = client.Watch(ctx, friends, func(p rollcall.Peer) { fmt.Println(p.ID, p.Status) })
	cancel()
	return errors.Join(err, <-present)
}
