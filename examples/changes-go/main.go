// Command changes-go is a receiver of what changes in an app, for its backend: it verifies each
// call, keeps a copy of who is online, and lists anew when it must. It needs the standard library
// alone.
package main

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

func main() {
	r := &receiver{
		secret: []byte(os.Getenv("CHANGES_SECRET")), url: os.Getenv("ROLLCALL_URL"),
		app: os.Getenv("ROLLCALL_APP"), masterKey: os.Getenv("ROLLCALL_MASTER_KEY"), peers: map[string]peer{},
	}
	http.HandleFunc("GET /online", r.online)
	http.HandleFunc("POST /", r.changes)
	l, err := net.Listen("tcp", cmp.Or(os.Getenv("CHANGES_LISTEN"), "127.0.0.1:3200"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listens on", l.Addr())
	log.Fatal((&http.Server{ReadTimeout: 30 * time.Second}).Serve(l))
}

type receiver struct {
	secret              []byte
	url, app, masterKey string

	mu    sync.Mutex
	peers map[string]peer
}

type peer struct {
	status  string
	version uint64
}

type batch struct {
	Changes []struct {
		Peer, Status string
		Version      uint64
	}
	ListAgain bool `json:"list_again"`
}

// changes takes one call. It answers 2xx only when everything in it is done.
func (r *receiver) changes(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, 1<<20))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if !r.genuine(req, body) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var b batch
	if err = json.Unmarshal(body, &b); err == nil {
		err = r.take(req.Context(), &b)
	}
	if err != nil {
		log.Print(err)
		w.WriteHeader(http.StatusInternalServerError) // it will come again
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// genuine reports whether a call was signed with our secret, within five minutes.
func (r *receiver) genuine(req *http.Request, body []byte) bool {
	stamp := req.Header.Get("X-Rollcall-Time")
	at, err := strconv.ParseFloat(stamp, 64)
	if err != nil || !(math.Abs(float64(time.Now().Unix())-at) <= 300) {
		return false
	}
	mac := hmac.New(sha256.New, r.secret)
	_, _ = fmt.Fprintf(mac, "%s\n%s\n%s\n%s", stamp, req.Method, req.URL.RequestURI(), body)
	sum := mac.Sum(nil)
	for text := range strings.SplitSeq(req.Header.Get("X-Rollcall-Signature"), ",") {
		got, err := hex.DecodeString(strings.TrimPrefix(strings.TrimSpace(text), "v2="))
		if err == nil && hmac.Equal(got, sum) {
			return true
		}
	}
	return false
}

// take puts one batch into the copy. A change that came before, or is older, changes nothing.
func (r *receiver) take(ctx context.Context, b *batch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b.ListAgain {
		if err := r.list(ctx); err != nil {
			return err
		}
	}
	for _, c := range b.Changes {
		if c.Version > r.peers[c.Peer].version {
			r.peers[c.Peer] = peer{c.Status, c.Version}
		}
	}
	return nil
}

// list reads who is online, all pages of it; everyone else is offline.
func (r *receiver) list(ctx context.Context) error {
	online := map[string]bool{}
	for cursor := ""; ; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/v1/peers?online&cursor="+url.QueryEscape(cursor), nil)
		if err != nil {
			return err
		}
		req.Header.Set("X-LC-Id", r.app)
		req.Header.Set("Authorization", "Bearer "+r.masterKey)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		var page struct {
			Peers  []string
			Cursor string
		}
		err = json.NewDecoder(res.Body).Decode(&page)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK {
			return fmt.Errorf("list: %s %w", res.Status, err)
		}
		for _, id := range page.Peers {
			online[id] = true
		}
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	for id, p := range r.peers {
		if !online[id] {
			r.peers[id] = peer{"offline", p.version}
		}
	}
	for id := range online {
		r.peers[id] = peer{"online", r.peers[id].version}
	}
	return nil
}

// online answers who is online.
func (r *receiver) online(w http.ResponseWriter, _ *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ids []string
	for id, p := range r.peers {
		if p.status == "online" {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	_, _ = io.WriteString(w, strings.Join(ids, " "))
}
