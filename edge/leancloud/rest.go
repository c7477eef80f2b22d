package leancloud

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"unicode/utf8"

	"rollcall/internal/api"
	"rollcall/internal/api/usertoken"
	"rollcall/presence"
)

// other answers what is not a function: the engine's ping and the REST calls about clients.
func (h *Handler) other(w http.ResponseWriter, r *http.Request, c *call, s *scratch) answer {
	if strings.HasPrefix(r.URL.Path, "/__engine/") {
		return h.engine(r)
	}
	route, id := routeOf(r.URL.Path, r.URL.RawPath)
	if route == nil {
		return notFound("Not found.").answer()
	}
	if r.Method != route.method && (route.method != http.MethodGet || r.Method != http.MethodHead) {
		return answer405(route.method)
	}
	c.signs = route.signs
	if fail := h.open(w, r, c, s); fail != nil {
		return fail.answer()
	}
	if !c.rights.Has(route.need) {
		return h.unauthorized(c).answer()
	}
	return route.answer(h, r, c, id, s)
}

func answer405(allow string) answer {
	if allow == http.MethodGet {
		allow = "GET, HEAD"
	}
	a := (&fault{status: http.StatusMethodNotAllowed, code: codeBad, text: "Method not allowed."}).answer()
	a.allow = allow + ", OPTIONS"
	return a
}

// A route is a REST call. Its pattern is what follows the version; {} stands for an id.
type route struct {
	pattern string
	method  string
	need    api.Rights
	answer  func(h *Handler, r *http.Request, c *call, id string, s *scratch) answer
	signs   bool // the caller shows its user token inside the call
}

var routes = []route{
	{"rtm/clients/check-online", http.MethodPost, api.Master, (*Handler).checkOnline, false},
	{"rtm/online", http.MethodPost, api.Master, (*Handler).checkPeers, false},
	{"rtm/clients/{}/kick", http.MethodPost, api.Master, (*Handler).kick, false},
	{"rtm/client/kick", http.MethodPost, api.Master, (*Handler).kickNamed, false},
	{"rtm/stats", http.MethodGet, api.Master, (*Handler).stats, false},
	{"rtm/notifications", http.MethodGet, api.Client, (*Handler).notifications, false},
	{"rtm/sign", http.MethodPost, api.Client, (*Handler).sign, true},
	{"rtm/clients/sign", http.MethodGet, api.Client, (*Handler).sign, true},
}

// routeOf finds the route of a path under /1, /1.1 or /1.2 and the id in it.
func routeOf(path, raw string) (*route, string) {
	if raw != "" {
		path = raw
	}
	rest, ok := strings.CutPrefix(path, "/1")
	if !ok {
		return nil, ""
	}
	for _, minor := range [...]string{".1/", ".2/", "/"} {
		if after, ok := strings.CutPrefix(rest, minor); ok {
			return routeIn(strings.TrimSuffix(after, "/"))
		}
	}
	return nil, ""
}

func routeIn(path string) (*route, string) {
	for i := range routes {
		before, after, holds := strings.Cut(routes[i].pattern, "{}")
		if !holds {
			if path == before {
				return &routes[i], ""
			}
			continue
		}
		id, ok := strings.CutPrefix(path, before)
		if !ok {
			continue
		}
		id, ok = strings.CutSuffix(id, after)
		if !ok || id == "" || strings.Contains(id, "/") {
			continue
		}
		if decoded, err := url.PathUnescape(id); err == nil {
			return &routes[i], decoded
		}
	}
	return nil, ""
}

func (h *Handler) checkOnline(r *http.Request, c *call, _ string, s *scratch) answer {
	return h.whoIsOnline(r, c, "client_ids", s)
}

func (h *Handler) checkPeers(r *http.Request, c *call, _ string, s *scratch) answer {
	return h.whoIsOnline(r, c, "peers", s)
}

// whoIsOnline answers those of the ids that are online, in the order asked.
func (h *Handler) whoIsOnline(r *http.Request, c *call, name string, s *scratch) answer {
	ids, fail := h.idsOf(c, name, false, s)
	if fail != nil {
		return fail.answer()
	}
	fail = h.statuses(r.Context(), c, ids, s)
	if fail != nil {
		return fail.answer()
	}
	statuses, age := s.statuses.Read()
	online := make([]string, 0, len(ids))
	for i, st := range statuses {
		if st == presence.Online {
			online = append(online, string(ids[i]))
		}
	}
	a := answerJSON(map[string][]string{"results": online})
	a.age = age
	return a
}

func (h *Handler) stats(r *http.Request, c *call, _ string, _ *scratch) answer {
	n, err := h.Ask.Counts(r.Context(), c.view())
	if err != nil {
		return h.storeFault(r.Context(), "count peers", err).answer()
	}
	return answerJSON(map[string]map[string]int64{"result": {"online_user_count": n.Online, "user_count_today": n.Today}})
}

// maxReason is how many characters the reason of a kick may have.
const maxReason = 20

func (h *Handler) kick(r *http.Request, c *call, id string, _ *scratch) answer {
	p, fail := h.parse(c.body, c.form)
	if fail != nil {
		return fail.answer()
	}
	return h.kickPeer(r, c.app, id, p)
}

func (h *Handler) kickNamed(r *http.Request, c *call, _ string, _ *scratch) answer {
	p, fail := h.parse(c.body, c.form)
	if fail != nil {
		return fail.answer()
	}
	id := p.text("client_id")
	if id == "" {
		return bad("The parameter client_id is missing; a string is expected.").answer()
	}
	return h.kickPeer(r, c.app, id, p)
}

// kickPeer closes every connection of id that this server holds. What hooks have reported stays:
// another service holds those connections, and its own hook reports when they are closed.
func (h *Handler) kickPeer(r *http.Request, app presence.AppID, id string, p params) answer {
	reason := p.text("reason")
	if utf8.RuneCountInString(reason) > maxReason {
		return bad(fmt.Sprintf("The parameter reason has more than %d characters.", maxReason)).answer()
	}
	if h.Kicker != nil {
		if err := h.Kicker.Kick(r.Context(), app, presence.PeerID(strings.ToValidUTF8(id, "\uFFFD")), reason); err != nil {
			return h.storeFault(r.Context(), "kick a client", err).answer()
		}
	}
	return answer{status: http.StatusOK, body: answerEmpty}
}

// answerNotifications holds the keys that either form of the call expects: nothing was missed,
// since messages are not ours.
var answerNotifications = []byte(`{"hasMore":false,"notifications":[],` +
	`"permanent":{"hasMore":false,"notifications":[]},` +
	`"droppable":{"hasMore":false,"notifications":[],"invalidLocalConvCache":false}}`)

func (h *Handler) notifications(*http.Request, *call, string, *scratch) answer {
	return answer{status: http.StatusOK, body: answerNotifications}
}

// sign signs the login of the peer that a user token names. SDKs call it when an app logs in with a
// user object, with the session token of that, which here is a user token.
//
// The signature has the time of the token, so that a kick voids both.
func (h *Handler) sign(r *http.Request, c *call, _ string, _ *scratch) answer {
	p, fail := h.parse(c.body, c.form)
	if fail != nil {
		return fail.answer()
	}
	text := cmp.Or(p.text("session_token"), r.URL.Query().Get("session_token"), api.FromHeader(r.Header).UserToken)
	app := h.Keys.Lookup(c.app)
	token, err := api.VerifyUser(r.Context(), h.Users, app, text)
	if err != nil || app.MasterKey == "" {
		if usertoken.Likely(text) { // a guess is charged, the session of another product is not
			if limited := h.unauthorized(c); limited != errUnauthorized {
				return limited.answer()
			}
		}
		return (&fault{status: http.StatusUnauthorized, code: codeNoUser, text: "Could not find user."}).answer()
	}
	at := int64(h.Now())
	if token.Issued > 1 {
		at = min(at, int64(token.Issued))
	}
	nonce := rand.Text()
	return answerJSON(map[string]any{
		"client_id": token.Peer, "nonce": nonce, "timestamp": at, "signature": api.SignLogin(app.MasterKey, app.ID, token.Peer, at, nonce),
	})
}

// engine answers what a health check of LeanEngine asks.
func (h *Handler) engine(r *http.Request) answer {
	if r.URL.RawQuery == "" && (r.URL.Path == "/__engine/1/ping" || r.URL.Path == "/__engine/1.1/ping") {
		return answer{status: http.StatusOK, body: h.ping, plain: true}
	}
	return notFound("Not found.").answer()
}

func pingAnswer(version string) []byte {
	return []byte(`{"runtime":` + strconv.Quote(runtime.Version()) + `,"version":` + quote(version) + `}`)
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string
	}
	return string(b)
}

func answerJSON(v any) answer {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers
	}
	return answer{status: http.StatusOK, body: body}
}
