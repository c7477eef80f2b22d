package leancloud_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rollcall/edge/leancloud"
	"rollcall/presence"
)

// serverEnv makes the test binary a server for the benchmarks: "lane", "http" or "constant".
const serverEnv = "LEANCLOUD_BENCH_SERVER"

const benchPeers = 200_000

func TestMain(m *testing.M) {
	if kind := os.Getenv(serverEnv); kind != "" {
		benchServer(kind)
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// benchServer serves until its standard input ends.
func benchServer(kind string) {
	t := &benchT{}
	var addr string
	if kind == "constant" {
		body := `{"result":[` + strings.Repeat(`"1",`, 99) + `"1"]}`
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		addr = l.Addr().String()
		go func() {
			_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				n, _ := strconv.Atoi(r.Header.Get("X-N"))
				w.Header()["Content-Type"] = []string{"application/json; charset=UTF-8"}
				_, _ = io.WriteString(w, body[:11+n*4-1]+"]}")
			}))
		}()
	} else {
		s := serveRaw(t, leancloud.DefaultConfig(), kind == "lane")
		var reports [100]presence.Report
		var out [100]presence.Outcome
		for i := 0; i < benchPeers; i += len(reports) {
			for j := range reports {
				reports[j] = presence.Report{
					App: appID, Peer: presence.PeerID(benchID(i + j)), Source: presence.SourceLeanCloud,
					Kind: presence.KindOnline + presence.Kind(j&1), At: presence.Millis(s.now.Load()),
				}
			}
			if err := s.Service.Report(context.Background(), reports[:], reports[0].At, out[:]); err != nil {
				panic(err)
			}
		}
		addr = s.addr
	}
	fmt.Println(addr)
	_, _ = io.Copy(io.Discard, os.Stdin)
	for i := len(t.undo) - 1; i >= 0; i-- {
		t.undo[i]()
	}
}

// benchT is the little of testing.TB that starting a server outside a test takes.
type benchT struct {
	testing.TB
	undo []func()
}

func (t *benchT) Helper()           {}
func (t *benchT) Cleanup(f func())  { t.undo = append(t.undo, f) }
func (t *benchT) Fatal(args ...any) { panic(fmt.Sprint(args...)) }
func (t *benchT) Error(args ...any) { panic(fmt.Sprint(args...)) }

func benchID(i int) string { return fmt.Sprintf("user-%010d", i) }

// BenchmarkServers measures the CPU time of a whole server process per request: the dialect in the
// fast lane, the dialect behind net/http, and net/http with a constant body of the same size. Load
// comes from this process over 32 connections.
func BenchmarkServers(b *testing.B) {
	for _, work := range []struct {
		name string
		ids  int
	}{{"20ids", 20}, {"100ids", 100}, {"hook", 0}} {
		for _, kind := range []string{"constant", "http", "lane"} {
			if work.ids == 0 && kind == "constant" {
				continue
			}
			b.Run(work.name+"/"+kind, func(b *testing.B) { benchServers(b, kind, work.ids) })
		}
	}
}

func benchServers(b *testing.B, kind string, ids int) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serverEnv+"="+kind)
	cmd.Stderr = os.Stderr
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = in.Close()
		_ = cmd.Wait()
	}()
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	addr = strings.TrimSpace(addr)
	const conns = 32
	var group sync.WaitGroup
	b.ResetTimer()
	before := cpuOf(b, cmd.Process.Pid)
	for w := range conns {
		share := b.N / conns
		if w < b.N%conns {
			share++
		}
		group.Go(func() { load(b, addr, w, share, ids) })
	}
	group.Wait()
	b.StopTimer()
	b.ReportMetric(float64(cpuOf(b, cmd.Process.Pid)-before)/float64(time.Microsecond)/float64(b.N), "cpu-µs/op")
}

// load sends n requests one after the other and checks each answer's status and length.
func load(b *testing.B, addr string, worker, n, ids int) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Error(err)
		return
	}
	defer c.Close()
	var requests [][]byte
	for i := range 64 {
		list := make([]string, ids)
		for j := range list {
			list[j] = `"` + benchID((worker*7919+i*104729+j*15485863)%(benchPeers*9/8)) + `"`
		}
		text := post(query, laneHead+"X-N: "+strconv.Itoa(ids)+"\r\nUser-Agent: bench\r\nAccept: */*\r\n", `{"peerIds":[`+strings.Join(list, ",")+`]}`)
		if ids == 0 {
			text = post("/1.1/functions/_clientOnline", laneHead+"X-LC-Hook-Key: "+hookKey+"\r\n", `{"peerId":"`+benchID(worker*64+i)+`","sourceIP":"10.1.2.3","tag":"default"}`)
		}
		requests = append(requests, []byte(text))
	}
	buf := make([]byte, 8192)
	for i := range n {
		if _, err := c.Write(requests[i%len(requests)]); err != nil {
			b.Error(err)
			return
		}
		have := 0
		for {
			m, err := c.Read(buf[have:])
			if err != nil {
				b.Error(err)
				return
			}
			if have += m; have > 2 && (string(buf[have-2:have]) == "]}" || string(buf[have-2:have]) == "{}") {
				break
			}
		}
		if string(buf[:15]) != "HTTP/1.1 200 OK" {
			b.Errorf("%s", buf[:have])
			return
		}
	}
}

// cpuOf returns the CPU time that a process has used.
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// BenchmarkHandler is the handler alone, without a socket, and counts its allocations.
func BenchmarkHandler(b *testing.B) {
	srv := build(b, leancloud.DefaultConfig(), nil)
	for _, n := range []int{20, 100} {
		b.Run(fmt.Sprintf("%dids", n), func(b *testing.B) {
			body := []byte(list(n))
			w := &discard{h: http.Header{}}
			r := srv.request(query, asClient(), body)
			b.ReportAllocs()
			for b.Loop() {
				r.Body = io.NopCloser(strings.NewReader(string(body)))
				srv.Handler.ServeHTTP(w, r)
			}
		})
	}
}

// BenchmarkHook is a login and a logout of one peer, without a socket.
func BenchmarkHook(b *testing.B) {
	srv := build(b, leancloud.DefaultConfig(), nil)
	const body = `{"peerId":"user-000001","sourceIP":"10.1.2.3","tag":"default"}`
	w := &discard{h: http.Header{}}
	online := srv.request("/1.1/functions/_clientOnline", asHook(), []byte(body))
	offline := srv.request("/1.1/functions/_clientOffline", asHook(), []byte(body))
	b.ReportAllocs()
	for b.Loop() {
		srv.now.Add(1000)
		for _, r := range []*http.Request{online, offline} {
			r.Body = io.NopCloser(strings.NewReader(body))
			srv.Handler.ServeHTTP(w, r)
		}
	}
}

type discard struct{ h http.Header }

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}
