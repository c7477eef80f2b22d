// Command go-recipe is the presence recipe of LeanCloud's guide in plain Go: net/http,
// encoding/json, go-redis. It is what a good afternoon's port of the Node functions would be, and
// waits for Redis before it answers a hook.
package main

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
)

// week is how long an offline peer is remembered.
const week = 7 * 24 * time.Hour

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "go-recipe:", err)
		os.Exit(1)
	}
}

func serve() error {
	opt, err := redis.ParseURL(os.Getenv("REDIS_URL_bench"))
	if err != nil {
		return err
	}
	r := recipe{
		redis:   redis.NewClient(opt),
		appID:   os.Getenv("LEANCLOUD_APP_ID"),
		appKey:  os.Getenv("LEANCLOUD_APP_KEY"),
		hookKey: os.Getenv("LEANCLOUD_APP_HOOK_KEY"),
	}
	return http.ListenAndServe("127.0.0.1:"+os.Getenv("LEANCLOUD_APP_PORT"), r.routes())
}

type recipe struct {
	redis                  *redis.Client
	appID, appKey, hookKey string
}

func (r recipe) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /1.1/functions/getOnOffStatus", r.app(r.status))
	mux.HandleFunc("POST /1.1/functions/_clientOnline", r.app(r.hook(func(ctx context.Context, peer string) error {
		return r.redis.Set(ctx, peer, "1", 0).Err()
	})))
	mux.HandleFunc("POST /1.1/functions/_clientOffline", r.app(r.hook(func(ctx context.Context, peer string) error {
		return r.redis.Set(ctx, peer, "0", week).Err()
	})))
	mux.HandleFunc("GET /__engine/1/ping", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"runtime": "go"})
	})
	return mux
}

func (r recipe) app(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if !same(req.Header.Get("X-LC-Id"), r.appID) || !same(req.Header.Get("X-LC-Key"), r.appKey) {
			fail(w, http.StatusUnauthorized, 401, "Unauthorized.")
			return
		}
		next(w, req)
	}
}

func (r recipe) status(w http.ResponseWriter, req *http.Request) {
	var params struct {
		PeerIDs []string `json:"peerIds"`
	}
	if err := json.NewDecoder(req.Body).Decode(&params); err != nil {
		fail(w, http.StatusBadRequest, 107, err.Error())
		return
	}
	values, err := r.redis.MGet(req.Context(), params.PeerIDs...).Result()
	if err != nil {
		fail(w, http.StatusInternalServerError, 1, err.Error())
		return
	}
	answer(w, http.StatusOK, map[string]any{"result": values})
}

func (r recipe) hook(store func(ctx context.Context, peer string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if !same(req.Header.Get("X-LC-Hook-Key"), r.hookKey) {
			fail(w, http.StatusUnauthorized, 401, "Hook key check failed.")
			return
		}
		var params struct {
			PeerID string `json:"peerId"`
		}
		if err := json.NewDecoder(req.Body).Decode(&params); err != nil {
			fail(w, http.StatusBadRequest, 107, err.Error())
			return
		}
		if err := store(req.Context(), params.PeerID); err != nil {
			fail(w, http.StatusInternalServerError, 1, err.Error())
			return
		}
		answer(w, http.StatusOK, struct{}{})
	}
}

func same(got, want string) bool {
	return want != "" && subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}

func fail(w http.ResponseWriter, status, code int, text string) {
	answer(w, status, map[string]any{"code": code, "error": text})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
