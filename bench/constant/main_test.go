package main

import (
	"encoding/json"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAnswersHaveTheSizeAskedFor(t *testing.T) {
	bodies, err := parseAnswers("10=17,20=93")
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(handler(bodies))
	defer srv.Close()
	for asked, want := range map[int]int{10: 17, 20: 93, 11: 2} {
		resp, err := srv.Client().Post(srv.URL, "application/json", strings.NewReader(strings.Repeat("x", asked)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || len(b) != want || !json.Valid(b) {
			t.Errorf("asked with %d bytes: got %q, %v, want %d bytes of JSON", asked, b, err, want)
		}
	}
	for _, bad := range []string{"10", "x=20", "10=5", "10=20=30"} {
		if _, err := parseAnswers(bad); err == nil {
			t.Errorf("-answers %s is accepted", bad)
		}
	}
}
