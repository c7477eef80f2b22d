package embedded_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"rollcall/presence"
	"rollcall/store/embedded"
)

// victimEnv names the directory of the store that this test binary is to write to until it is
// killed.
const victimEnv = "ROLLCALL_TEST_VICTIM"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimEnv); dir != "" {
		victim(dir, os.Getenv(victimEnv+"_ROUND"))
		return
	}
	goleak.VerifyTestMain(m)
}

// victim has 64 writers report peers and says of each which report was acknowledged, one line each.
func victim(dir, round string) {
	s, err := embedded.Setup{Config: embedded.Config{SegmentSize: 256 << 10}, Deps: embedded.Deps{Path: dir}}.Open(start)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	rules := presence.DefaultRules()
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for n := 0; ; n++ {
				// Every fourth report ends the one before it, so that states are written over, too.
				peer, kind := fmt.Sprintf("%s-%d-%d", round, w, n/4*4), presence.KindOnline
				if n%4 == 3 {
					kind = presence.KindOffline
				} else if n%4 > 0 {
					peer = fmt.Sprintf("%s-%d-%d", round, w, n)
				}
				r := presence.Report{App: "app", Peer: presence.PeerID(peer), Source: presence.SourceAPI, Session: "s", Kind: kind, At: start + presence.Millis(n)}
				err := s.Update(context.Background(), []presence.Key{r.Key()}, r.At, func(_ int, st *presence.State) presence.Effect {
					_, e := st.Apply(&r, r.At, &rules)
					return e
				})
				if err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				fmt.Printf("%s %v\n", peer, kind) // one write a line: it is whole or not there
			}
		})
	}
	wg.Wait()
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	const rounds = 50
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(7, 7))
	acked := map[string]presence.Status{}
	reports := 0
	for round := range rounds {
		reports += killed(t, dir, round, 1+rng.IntN(600), acked)
	}
	s, err := embedded.Setup{Config: embedded.Config{SegmentSize: 256 << 10}, Deps: embedded.Deps{Path: dir}}.Open(start)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	missing := 0
	for peer, want := range acked {
		if got := status(t, s, start+1000, peer); got != want {
			missing++
			if missing < 10 {
				t.Errorf("%s is %v, acknowledged was %v", peer, got, want)
			}
		}
	}
	t.Logf("%d reports were acknowledged over %d kills, %d are missing; the log is at segment %d", reports, rounds, missing, s.Stats().Segment)
}

// killed runs a victim, kills it after so many acknowledgements, notes all of them, and opens the
// store once.
func killed(t *testing.T, dir string, round, after int, acked map[string]presence.Status) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimEnv+"="+dir, fmt.Sprint(victimEnv, "_ROUND=", round))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines, n := bufio.NewReader(out), 0
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break // what is not a whole line was not said
		}
		if err != nil {
			t.Fatal(err)
		}
		peer, kind, _ := strings.Cut(strings.TrimSpace(line), " ")
		if peer == "error" {
			t.Errorf("round %d: %s", round, kind)
			break
		}
		acked[peer] = presence.Online
		if kind == "offline" {
			acked[peer] = presence.Offline
		}
		if n++; n == after {
			cmd.Process.Kill() // SIGKILL; the rest of the pipe is read all the same
		}
	}
	cmd.Wait()
	// A peer whose end was under way may have ended: its next word was not acknowledged.
	for peer := range acked {
		if strings.HasPrefix(peer, fmt.Sprint(round, "-")) && acked[peer] == presence.Online {
			var w, i int
			fmt.Sscanf(peer, fmt.Sprint(round)+"-%d-%d", &w, &i)
			if _, third := acked[fmt.Sprintf("%d-%d-%d", round, w, i+2)]; third && i%4 == 0 {
				delete(acked, peer)
			}
		}
	}
	return n
}
