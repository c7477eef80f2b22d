package redisstore

import (
	"context"

	"rollcall/internal/configload"
)

// A Setup is all that a store of a test is opened with.
type Setup struct {
	Config
	Deps
}

// At returns the defaults for the Redis at url, whose query may hold settings. A bad one panics.
func At(url string) Setup {
	address, given, err := CutQuery(url)
	s := Setup{Config: DefaultConfig(), Deps: Deps{URL: address}}
	l := configload.New(&s.Config)
	for _, g := range given {
		l.Set(g.Key, g.Value, url)
	}
	if l.Finish(); err != nil || l.Err() != nil {
		panic(url)
	}
	return s
}

// Open opens the store.
func (s Setup) Open(ctx context.Context) (*Store, error) { return Open(ctx, s.Config, s.Deps) }
