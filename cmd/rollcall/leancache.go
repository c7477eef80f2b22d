package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	operatordoor "rollcall/edge/operator"
	"rollcall/presence"
	"rollcall/server"
	"rollcall/server/config"
	"rollcall/transfer"
)

// recipeMemory is how long the recipe's functions keep a peer that is offline.
const recipeMemory = 7 * 24 * time.Hour

// defaultPrefix begins the keys of the recipe's demo.
const defaultPrefix = "onOffStatus:"

// recipeState returns what a value of the recipe stands for. ttl is less than 0 when there is none;
// ok is false when the value is none of the recipe's.
func recipeState(value string, ttl time.Duration, now presence.Millis) (st presence.State, ok bool) {
	rules := presence.DefaultRules()
	switch {
	case value == "1":
		return presence.Assume(now, &rules), true
	case value == "0" && ttl >= 0 && ttl <= recipeMemory:
		return presence.AssumeOffline(now.Add(ttl - recipeMemory)), true
	case value == "0":
		return presence.AssumeOffline(now), true // when it went offline is not known
	}
	return st, false
}

// A recipe is what is imported of the recipe's keys.
type recipe struct {
	*importer
	prefix  string
	now     presence.Millis
	packed  []byte
	foreign int64 // keys and values that are none of the recipe's
}

// recipe begins the import of keys of the recipe.
func (c *importCmd) recipe(im *importer) (*recipe, error) {
	var status operatordoor.Status
	if _, _, err := c.get(im.e, "/status", nil, &status); err != nil {
		return nil, err
	}
	if im.app == "" && len(status.Apps) != 1 {
		return nil, &config.Hinted{Err: fmt.Errorf("the server has %d apps", len(status.Apps)), Hint: "name that of the keys with --app"}
	}
	if im.app == "" {
		im.app = status.Apps[0].ID
	}
	now := presence.Millis(time.Now().UnixMilli())
	im.begin(transfer.Header{Kind: transfer.KindExport, Time: now, Release: server.Release, Apps: []transfer.App{{ID: im.app}}})
	return &recipe{importer: im, prefix: c.Prefix, now: now}, nil
}

// key imports one key; line is where it stands, 0 when that is no file.
func (r *recipe) key(line int, key, value string, ttl time.Duration) error {
	peer, ours := strings.CutPrefix(key, r.prefix)
	st, ok := recipeState(value, ttl, r.now)
	// A key that begins as ours, or as the recipe's demo has them, is no bare id.
	if r.prefix == "" && (strings.HasPrefix(key, "rc:") || strings.HasPrefix(key, defaultPrefix)) {
		ours = false
	}
	if !ours || !ok || presence.CheckKnown(presence.PeerID(peer)) != nil {
		r.foreign++
		return nil
	}
	r.packed = st.Pack(r.packed[:0])
	return r.add(line, func(w *transfer.Writer) error {
		return w.Peer(presence.Key{App: r.app, Peer: presence.PeerID(peer)}, r.packed)
	})
}

// finish sends the rest, and says what was passed over.
func (r *recipe) finish() error {
	err := r.flush()
	if err != nil || r.foreign == 0 {
		return err
	}
	why := "none of the recipe's, which hold 1 or 0"
	if r.prefix != "" {
		why = fmt.Sprintf("none of the recipe's, which begin with %q and hold 1 or 0; --prefix names another beginning", r.prefix)
	}
	fmt.Fprintf(r.e.stderr, "%s passed over: %s\n", many(r.foreign, "key"), why)
	return nil
}

// scanCount is how many keys one step of a scan looks at, about.
const scanCount = 1000

// fromRedis imports the recipe's keys of a Redis.
func (c *importCmd) fromRedis(im *importer) error {
	opts, err := rueidis.ParseURL(c.Redis)
	if err != nil || len(opts.InitAddress) == 0 {
		fmt.Fprintln(im.e.stderr, "rollcall: --redis is written as redis://:PASSWORD@HOST:PORT/DB")
		return errMisused
	}
	host := opts.InitAddress[0]
	// LeanCache may be old.
	opts.DisableCache, opts.ForceSingleClient, opts.AlwaysRESP2 = true, true, true
	client, err := rueidis.NewClient(opts)
	if err != nil {
		return fmt.Errorf("the Redis at %s does not answer: %w", host, err)
	}
	defer client.Close()
	r, err := c.recipe(im)
	if err != nil {
		return err
	}
	for cursor := uint64(0); ; {
		page, err := client.Do(im.e.ctx, client.B().Scan().Cursor(cursor).Match(globText(c.Prefix)+"*").Count(scanCount).Build()).AsScanEntry()
		if err == nil {
			err = r.page(client, page.Elements)
		}
		if err != nil {
			var redis *rueidis.RedisError
			if errors.As(err, &redis) {
				err = fmt.Errorf("the Redis at %s: %w", host, err)
			}
			return err
		}
		if cursor = page.Cursor; cursor == 0 {
			return r.finish()
		}
	}
}

// page imports some keys of a Redis.
func (r *recipe) page(client rueidis.Client, keys []string) error {
	cmds := make(rueidis.Commands, 0, 2*len(keys))
	for _, k := range keys {
		cmds = append(cmds, client.B().Get().Key(k).Build(), client.B().Pttl().Key(k).Build())
	}
	answers := client.DoMulti(r.e.ctx, cmds...)
	for i, k := range keys {
		value, err := answers[2*i].ToString()
		switch {
		case rueidis.IsRedisNil(err):
			continue // gone meanwhile
		case err != nil && strings.HasPrefix(err.Error(), "WRONGTYPE"):
			r.foreign++
			continue
		case err != nil:
			return err
		}
		ttl, err := answers[2*i+1].AsInt64()
		if err != nil {
			return err
		}
		if err := r.key(0, k, value, time.Duration(ttl)*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// globText returns a pattern of SCAN that matches text alone.
func globText(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(text)
}

// fromText imports lines of a key, its value, and its TTL in seconds.
func (c *importCmd) fromText(im *importer, in io.Reader) error {
	r, err := c.recipe(im)
	if err != nil {
		return err
	}
	lines, n := bufio.NewScanner(in), 1
	for ; lines.Scan(); n++ {
		text := strings.TrimSuffix(lines.Text(), "\r")
		if strings.TrimSpace(text) == "" {
			continue
		}
		key, value, ttl, err := recipeLine(text)
		if err != nil {
			return r.flushThen(&transfer.FileError{Line: n, Code: transfer.CodeLine, Text: err.Error()})
		}
		if err := r.key(n, key, value, ttl); err != nil {
			return err
		}
	}
	err = lines.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		err = &transfer.FileError{Line: n, Code: transfer.CodeLine, Text: "the line is longer than any key and its value"}
	}
	if err != nil {
		return r.flushThen(err)
	}
	return r.finish()
}

// recipeLine reads a key, its value and its TTL, with tabs or blanks between them, as redis-cli
// prints them to a terminal or to a file.
func recipeLine(text string) (key, value string, ttl time.Duration, err error) {
	fields := strings.Split(text, "\t")
	if len(fields) == 1 {
		fields = strings.Fields(strings.ReplaceAll(text, "(integer) ", ""))
	}
	for i, f := range fields {
		f = strings.TrimPrefix(strings.TrimSpace(f), "(integer) ")
		if plain, err := strconv.Unquote(f); err == nil && strings.HasPrefix(f, `"`) {
			f = plain
		}
		fields[i] = f
	}
	ttl = -time.Second
	switch len(fields) {
	case 2:
	case 3:
		n, err := strconv.ParseInt(fields[2], 10, 32)
		if err != nil {
			return "", "", 0, fmt.Errorf("the TTL %q is no number of seconds", fields[2])
		}
		ttl = time.Duration(n) * time.Second
	default:
		return "", "", 0, errors.New("a line has a key, its value and its TTL, with tabs between them")
	}
	return fields[0], fields[1], ttl, nil
}
