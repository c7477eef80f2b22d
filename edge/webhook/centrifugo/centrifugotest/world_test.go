package centrifugotest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/centrifugal/centrifuge-go"
)

var rollcallBinary, centrifugoBinary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "centrifugotest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	rollcallBinary, centrifugoBinary = filepath.Join(dir, "rollcall"), filepath.Join(dir, "centrifugo")
	code := 1
	if build("../../../..", rollcallBinary, "./cmd/rollcall") && build(".", centrifugoBinary, "github.com/centrifugal/centrifugo/v6") {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

func build(dir, binary, what string) bool {
	c := exec.Command("go", "build", "-o", binary, what)
	c.Dir = dir
	b, err := c.CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "build %s: %v\n%s", what, err, b)
	}
	return err == nil
}

// A process is a program that runs.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	mu  sync.Mutex
	log bytes.Buffer
}

// Write takes the log.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *process) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// start starts a program with settings of Centrifugo, and stops it at the end of the test.
func start(t *testing.T, cmd *exec.Cmd, settings ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd}
	cmd.Env = os.Environ()
	for _, s := range settings {
		cmd.Env = append(cmd.Env, "CENTRIFUGO_"+s)
	}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(os.Interrupt)
		killed := time.AfterFunc(time.Minute, func() { _ = p.cmd.Process.Kill() })
		_ = p.cmd.Wait()
		killed.Stop()
		if t.Failed() {
			t.Logf("the log of %s:\n%s", filepath.Base(cmd.Path), p.logged())
		}
	})
	return p
}

// wait waits until reached is true.
func (p *process) wait(what string, reached func() bool) {
	p.t.Helper()
	for end := time.Now().Add(3 * time.Minute); !reached(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("not within three minutes: %s", what)
		}
	}
}

// A rollcall is the program, with a source of kind centrifugo.
type rollcall struct {
	*process
	address, admin string
}

func newRollcall(t *testing.T) *rollcall {
	t.Helper()
	r := &rollcall{address: freeAddress(t), admin: freeAddress(t)}
	file := filepath.Join(t.TempDir(), "rollcall.yaml")
	write(t, file, fmt.Sprintf(`apps:
- id: theApp
  app_key: theAppKey000000000001
  master_key: %s
sources:
- id: chat
  kind: centrifugo
  secret: %s
  lease: %s
  allow: [127.0.0.1]
`, masterKey, secret, lease))
	r.process = start(t, exec.Command(rollcallBinary, "serve", "--config", file, "--listen", r.address, "--admin", r.admin, "--data", ""))
	r.wait("rollcall is ready", func() bool { return answers("http://" + r.admin + "/readyz") })
	return r
}

// status returns what the server answers of peer.
func (r *rollcall) status(peer string) string {
	r.t.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://"+r.address+"/v1/peers/query", strings.NewReader(`{"peers":["`+peer+`"]}`))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("X-LC-Id", "theApp")
	req.Header.Set("Authorization", "Bearer "+masterKey)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	var answer struct {
		Peers []struct{ Status string }
	}
	if err != nil || json.Unmarshal(b, &answer) != nil || len(answer.Peers) != 1 {
		r.t.Fatalf("answered %s %s: %v", res.Status, b, err)
	}
	return answer.Peers[0].Status
}

// peer returns all that the server knows of peer.
func (r *rollcall) peer(peer string) string {
	r.t.Helper()
	b, err := exec.Command(rollcallBinary, "peer", peer, "--admin", r.admin).CombinedOutput()
	if err != nil {
		r.t.Fatalf("%v\n%s", err, b)
	}
	return string(b)
}

// count returns how many calls or events of the source became what.
func (r *rollcall) count(what string) int {
	r.t.Helper()
	res, err := http.Get("http://" + r.admin + "/metrics")
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	m := regexp.MustCompile(`(?m)^rollcall_webhook_total\{app="theApp",source="chat",what="` + what + `"\} (\d+)$`).FindSubmatch(b)
	if err != nil || m == nil {
		r.t.Fatalf("there is no count of %s: %v", what, err)
	}
	n, err := strconv.Atoi(string(m[1]))
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// A centrifugo is a Centrifugo set up as docs/sources.md says.
type centrifugo struct {
	*process
	address string
}

// signing is what Centrifugo checks the tokens of clients with.
const signing = "the-secret-of-tokens"

// newCentrifugo returns one that shows secret to r.
func newCentrifugo(t *testing.T, r *rollcall, secret string) *centrifugo {
	t.Helper()
	c := &centrifugo{address: freeAddress(t)}
	host, port, err := net.SplitHostPort(c.address)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "centrifugo.json")
	write(t, file, strings.NewReplacer("https://HOST/ingest/APP/ID", "http://"+r.address+"/ingest/theApp/chat", "SECRET", secret).Replace(documented(t)))
	// A client may be slow to answer a ping.
	c.process = start(t, exec.Command(centrifugoBinary, "-c", file), "HTTP_SERVER_ADDRESS="+host, "HTTP_SERVER_PORT="+port,
		"CLIENT_TOKEN_HMAC_SECRET_KEY="+signing, "CLIENT_PING_INTERVAL=100s", "CLIENT_PONG_TIMEOUT=90s", "HEALTH_ENABLED=true", "USAGE_STATS_DISABLED=true")
	c.wait("Centrifugo is ready", func() bool { return answers("http://" + c.address + "/health") })
	return c
}

// documented returns the configuration of Centrifugo in docs/sources.md.
func documented(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../../../docs/sources.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n## Centrifugo")
	_, block, _ := strings.Cut(section, "```json\n")
	block, _, found := strings.Cut(block, "```")
	if !found || !json.Valid([]byte(block)) {
		t.Fatalf("docs/sources.md has no configuration of Centrifugo: %q", block)
	}
	return block
}

// A connection is a client that has connected.
type connection struct {
	*centrifuge.Client
	t       *testing.T
	session string
	ended   chan string // why, when it was not the client
}

// connect connects as user, with a token that is valid for an hour and has the first refresh come
// soon; a machine too slow for that makes another.
func (c *centrifugo) connect() *connection {
	c.t.Helper()
	config := centrifuge.Config{
		GetToken: func(centrifuge.ConnectionTokenEvent) (string, error) {
			now := time.Now()
			return token(user, now.Add(time.Hour), now.Add(10*time.Second)), nil
		},
		HandshakeTimeout: time.Minute, ReadTimeout: time.Minute, WriteTimeout: time.Minute, MaxServerPingDelay: time.Minute,
	}
	x := &connection{Client: centrifuge.NewJsonClient("ws://"+c.address+"/connection/websocket", config), t: c.t, ended: make(chan string, 100)}
	c.t.Cleanup(x.Client.Close)
	connected := make(chan string, 100)
	x.OnConnected(func(e centrifuge.ConnectedEvent) { connected <- e.ClientID })
	x.OnError(func(e centrifuge.ErrorEvent) { c.t.Logf("the client: %v", e.Error) })
	x.OnConnecting(func(e centrifuge.ConnectingEvent) {
		if e.Code != 0 { // that is the first connection
			x.ended <- e.Reason
		}
	})
	if err := x.Connect(); err != nil {
		c.t.Fatal(err)
	}
	select {
	case x.session = <-connected:
	case <-time.After(3 * time.Minute):
		c.t.Fatal("the client did not connect within three minutes")
	}
	return x
}

// undisturbed checks that the connection is the first.
func (x *connection) undisturbed() {
	x.t.Helper()
	select {
	case why := <-x.ended:
		x.t.Errorf("the connection was ended: %s", why)
	default:
		if got := x.State(); got != centrifuge.StateConnected {
			x.t.Errorf("the client is %s", got)
		}
	}
}

// token returns a JWT that is valid until valid; the first refresh of its connection is at refresh.
func token(user string, valid, refresh time.Time) string {
	encode := base64.RawURLEncoding.EncodeToString
	claims := fmt.Sprintf(`{"sub":%q,"exp":%d,"expire_at":%d}`, user, valid.Unix(), refresh.Unix())
	signed := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode([]byte(claims))
	sum := hmac.New(sha256.New, []byte(signing))
	sum.Write([]byte(signed))
	return signed + "." + encode(sum.Sum(nil))
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// answers reports whether url is answered with 200.
func answers(url string) bool {
	res, err := http.Get(url)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

var nextPort atomic.Int64

// freeAddress returns one that nothing listens on, each time another, below those that the kernel
// gives connections.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 1000 {
		p := 20_000 + (int64(os.Getpid())*50+nextPort.Add(1))%10_000
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p)); err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}
