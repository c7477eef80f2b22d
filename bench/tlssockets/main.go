// Command tlssockets measures what an idle socket costs over TLS beside one without, in the same
// server one after the other, and fails when a TLS socket takes more than 24 KiB:
//
//	go run ./tlssockets          8,000 sockets of each kind, about a minute
//	go run ./tlssockets -quick   3,000, about 15 s: for CI
//
// The sockets are held by a process of its own, logged in and silent. Memory is what the server has
// resident after collections, less what it had before the sockets came.
package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coder/websocket"
)

const (
	appID = "rollcallBenchAppId000001"
	bound = 24 << 10
)

var (
	count = flag.Int("n", 8000, "sockets of each kind")
	quick = flag.Bool("quick", false, "3,000 sockets")
	hold  = flag.String("hold", "", "internal: hold -n sockets to this URL")
)

func main() {
	flag.Parse()
	if *quick {
		*count = 3000
	}
	var err error
	if *hold != "" {
		err = holdSockets(*hold, *count)
	} else {
		err = measure()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tlssockets:", err)
		os.Exit(1)
	}
}

func measure() error {
	dir, err := os.MkdirTemp("", "rollcall-tlssockets")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(dir, "rollcall"), "./cmd/rollcall")
	build.Dir = ".."
	if b, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build rollcall: %w\n%s", err, b)
	}
	if err := writePair(dir); err != nil {
		return err
	}
	fmt.Printf("%d idle sockets of each kind, %s, %s\n\n", *count, runtime.Version(), runtime.GOARCH)
	fmt.Println("| idle socket | KiB resident |")
	fmt.Println("| --- | --- |")
	var last int64
	for _, scheme := range []string{"ws", "wss"} {
		if last, err = one(dir, scheme); err != nil {
			return fmt.Errorf("%s: %w", scheme, err)
		}
		fmt.Printf("| %s | %.1f |\n", scheme, float64(last)/1024)
	}
	if last > bound {
		return fmt.Errorf("an idle TLS socket takes more than %d KiB", bound>>10)
	}
	return nil
}

// one returns the bytes that a server has resident for each idle socket of a scheme.
func one(dir, scheme string) (int64, error) {
	s, err := start(dir, scheme)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	stop, err := s.load(scheme, 50) // what the first sockets allocate for all
	if err != nil {
		return 0, err
	}
	stop()
	before := s.resident()
	if stop, err = s.load(scheme, *count); err != nil {
		return 0, err
	}
	defer stop()
	return (s.resident() - before) / int64(*count), nil
}

// A server is a rollcall on ports of its own.
type server struct {
	cmd   *exec.Cmd
	at    map[string]string // address by scheme
	admin string
}

func start(dir, scheme string) (*server, error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	s := &server{at: map[string]string{"ws": ports[0], "wss": ports[1]}, admin: ports[2]}
	s.cmd = exec.Command(filepath.Join(dir, "rollcall"), "serve", "--listen", ports[0], "--admin", ports[2], "--profiling",
		"--data", filepath.Join(dir, "data-"+scheme), "--set", "listen_tls="+ports[1],
		"--set", "tls.cert="+filepath.Join(dir, "cert.pem"), "--set", "tls.key="+filepath.Join(dir, "key.pem"))
	s.cmd.Env = append(os.Environ(), "LEANCLOUD_APP_ID="+appID, "LEANCLOUD_APP_KEY=rollcallBenchKey00000001",
		"LEANCLOUD_APP_MASTER_KEY=rollcallBenchMaster00001", "LEANCLOUD_APP_HOOK_KEY=rollcallBenchHook0000001",
		"ROLLCALL_GATEWAY_CONNECT_RATE=0", "ROLLCALL_GATEWAY_APP_LOGIN_RATE=0", "ROLLCALL_GATEWAY_APP_NEW_PEER_RATE=0",
		// A proxy may hold more than half of the connections.
		"ROLLCALL_LOG_LEVEL=warn", "ROLLCALL_PROXIES=127.0.0.0/8")
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for range 2000 {
		if resp, err := http.Get("http://" + s.admin + "/readyz"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return s, nil
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.stop()
	return nil, errors.New("the server does not get ready")
}

func (s *server) stop() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // killed
}

// load opens n sockets and returns what closes them.
func (s *server) load(scheme string, n int) (stop func(), err error) {
	cmd := exec.Command(os.Args[0], "-n", strconv.Itoa(n), "-hold", scheme+"://"+s.at[scheme]+"/rtm")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	}
	if in := bufio.NewScanner(out); !in.Scan() || in.Text() != "in" {
		stop()
		return nil, errors.New("the sockets did not open")
	}
	return stop, nil
}

// resident returns the memory of the server, when what was garbage has been given back: it is asked
// for collections until it takes less no more.
func (s *server) resident() int64 {
	least := int64(1) << 62
	for range 40 {
		for range 2 {
			if resp, err := http.Get("http://" + s.admin + "/debug/pprof/heap?gc=1"); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		}
		time.Sleep(250 * time.Millisecond)
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.cmd.Process.Pid))
		words := strings.Fields(string(b))
		if len(words) < 2 {
			return 0
		}
		pages, _ := strconv.ParseInt(words[1], 10, 64)
		now := pages * int64(os.Getpagesize())
		if now > least-least/200 {
			return min(now, least)
		}
		least = now
	}
	return least
}

// holdSockets opens n sockets that log in, prints "in", and keeps them.
func holdSockets(url string, n int) error {
	// The pair is of this run.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	var all []*websocket.Conn
	for i := range n {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		c, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{"lc.json.3"}})
		if err == nil {
			err = c.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"cmd":"session","op":"open","appId":%q,"peerId":"peer-%d","i":1,"ua":"bench"}`, appID, i))
		}
		if err == nil {
			var answer []byte
			if _, answer, err = c.Read(ctx); err == nil && !strings.Contains(string(answer), "opened") {
				err = fmt.Errorf("the login was answered %s", answer)
			}
		}
		cancel()
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	fmt.Println("in")
	time.Sleep(time.Hour)
	runtime.KeepAlive(all)
	return nil
}

func writePair(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600),
	)
}

func freePorts(n int) (all []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		all = append(all, l.Addr().String())
	}
	return all, nil
}
