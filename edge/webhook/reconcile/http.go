package reconcile

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"

	"rollcall/internal/api"
	"rollcall/presence"
)

const (
	// Path is where operators ask; a run is begun below it, at /APP/SOURCE.
	Path = "/reconcile"
	// MostListed is how many peers one run may name.
	MostListed = 50_000
	// maxListed is the largest list of them.
	maxListed = 16 << 20
)

// Status is the answer of GET /reconcile.
type Status struct {
	Sources []Stats `json:"sources"`
}

// Handler answers GET /reconcile, and POST /reconcile/{app}/{source}?dry=1&force=1, which begins a
// run and answers it. The body are the ids of the peers to be asked about, one a line; without any
// it is a round. The path of a server with one app may have "-" in its place.
func (r *Runner) Handler(apps func() []presence.AppID) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path, func(w http.ResponseWriter, _ *http.Request) {
		api.WriteJSON(w, http.StatusOK, Status{r.Stats()})
	})
	mux.HandleFunc("POST "+Path+"/{app}/{source}", func(w http.ResponseWriter, q *http.Request) {
		run, err := r.begin(q, apps())
		switch {
		case err == nil:
			api.WriteJSON(w, http.StatusAccepted, run)
		case errors.Is(err, ErrRunning), errors.Is(err, ErrNoSource):
			api.WriteError(w, api.Errorf("invalid", "%v", err))
		default:
			api.WriteError(w, err)
		}
	})
	return mux
}

func (r *Runner) begin(q *http.Request, apps []presence.AppID) (*Run, error) {
	app := presence.AppID(q.PathValue("app"))
	if app == "-" {
		if len(apps) != 1 {
			return nil, api.Errorf("invalid", "there are %d apps; name one", len(apps))
		}
		app = apps[0]
	}
	peers, err := readPeers(q)
	if err != nil {
		return nil, err
	}
	return r.Begin(app, presence.Source(q.PathValue("source")), Options{
		Peers: peers, Dry: q.URL.Query().Get("dry") == "1", Force: q.URL.Query().Get("force") == "1",
	})
}

// readPeers reads the ids in the body of q, each once.
func readPeers(q *http.Request) ([]presence.PeerID, error) {
	var list []presence.PeerID
	there := map[presence.PeerID]struct{}{}
	lines := bufio.NewScanner(http.MaxBytesReader(nil, q.Body, maxListed))
	for n := 1; lines.Scan(); n++ {
		p := presence.PeerID(lines.Text())
		if _, twice := there[p]; p == "" || twice {
			continue
		}
		if err := presence.CheckPeer(p); err != nil {
			return nil, api.Errorf("invalid", "line %d: %v", n, err)
		}
		if len(list) == MostListed {
			return nil, api.Errorf("too_large", "a run takes %d ids", MostListed)
		}
		there[p] = struct{}{}
		list = append(list, p)
	}
	if err := lines.Err(); err != nil {
		return nil, api.Errorf("too_large", "%v", fmt.Errorf("the ids cannot be read: %w", err))
	}
	return list, nil
}
