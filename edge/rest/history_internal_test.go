package rest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"rollcall/presence"
)

func TestHistoryKeepsThePeakOfEachDay(t *testing.T) {
	dir := t.TempDir()
	h, err := OpenHistory(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, online := range []int64{3, 9, 4} {
		h.Add("app", "2026-11-22", presence.Counts{Online: online, Today: online + 10})
	}
	h.Add("app", "2026-11-23", presence.Counts{Online: 2, Today: 2})
	// A clock that was put back starts no day again.
	h.Add("app", "2026-11-22", presence.Counts{Online: 1, Today: 99})
	if err := h.Save(); err != nil {
		t.Fatal(err)
	}
	again, err := OpenHistory(dir)
	if err != nil {
		t.Fatal(err)
	}
	const want = "[{2026-11-22 9 19} {2026-11-23 2 2}]"
	if got := fmt.Sprint(again.Days("app")); got != want {
		t.Errorf("kept %s, want %s", got, want)
	}
	if got := again.Days("other"); len(got) != 0 {
		t.Errorf("another app has %v", got)
	}
}

func TestHistoryForgetsOldDays(t *testing.T) {
	h, err := OpenHistory("")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		h.Add("app", fmt.Sprintf("2026-%02d-%02d", 1+i/28, 1+i%28), presence.Counts{Online: int64(i)})
	}
	if days := h.Days("app"); len(days) != historyDays || days[0].Peak != 10 {
		t.Errorf("%d days from %v", len(days), days[0])
	}
}

func TestHistoryStartsAnewFromADamagedFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, HistoryFile), []byte(`{"app":`), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := OpenHistory(dir)
	if err == nil || h == nil {
		t.Fatalf("got %v, %v; want a history and the reason", h, err)
	}
	h.Add("app", "2026-11-22", presence.Counts{Online: 1})
	if err := h.Save(); err != nil {
		t.Error(err)
	}
}
