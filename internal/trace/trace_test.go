package trace_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/trace"
)

const valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestOnlyValidHeadersAreTraces(t *testing.T) {
	for value, ok := range map[string]bool{
		valid: true,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00":      true,
		"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01":      true,
		"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more": true,
		"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more":  false,
		"":              false,
		valid + "-more": false,
		valid + " ":     false,
		"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01":  false,
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01":  false,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01":  false,
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01":  false,
		"00-4bf92f3577b34da6a3ce929d0e0e473-000f067aa0ba902b7-01":  false,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x":  false,
		"00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01":  false,
		"00-\nbf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01": false,
	} {
		c, got := trace.Parse(value)
		if got != ok || c.IsZero() == ok {
			t.Errorf("%q is valid: %v, want %v", value, got, ok)
		}
	}
}

func TestAChildKeepsTheTrace(t *testing.T) {
	c, _ := trace.Parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff-later")
	if got := c.String(); got != "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03" {
		t.Errorf("it goes out as %s", got)
	}
	child := c.Child()
	if child.ID() != c.ID() || child.Span() == c.Span() || !child.Sampled() {
		t.Errorf("%s is a child of %s", child, c)
	}
	if _, ok := trace.Parse(child.String()); !ok {
		t.Errorf("a child is %s, which is not valid", child)
	}
	if got := (trace.Context{}).String(); got != "" {
		t.Errorf("no trace is written %q", got)
	}
}

func TestAHeaderThatComesTwiceIsNoTrace(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	if !trace.Of(r).IsZero() {
		t.Error("a request without the header has a trace")
	}
	r.Header.Add("traceparent", valid)
	if got := trace.Of(r).String(); got != valid {
		t.Errorf("the trace is %q", got)
	}
	r.Header.Add("traceparent", valid)
	if !trace.Of(r).IsZero() {
		t.Error("two headers are a trace")
	}
}

func TestARequestWithoutATraceAllocatesNothing(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	ctx := context.Background()
	if n := testing.AllocsPerRun(100, func() { _ = trace.Of(r).IsZero() && trace.Attr(ctx).Key == "" }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestWhatIsRefusedFailedOrSlowHasALine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := trace.NewLog(slog.New(slog.NewTextHandler(&out, nil)))
		c, _ := trace.Parse(valid)
		serve := func(code int, took time.Duration, long bool) string {
			out.Reset()
			log.Serve(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), c, "rest", long, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(took)
				if trace.From(r.Context()) != c {
					t.Error("the request lacks its trace")
				}
				if code > 0 {
					w.WriteHeader(code)
				}
			}))
			return out.String()
		}
		for _, e := range []struct {
			code int
			took time.Duration
			long bool
			want string
		}{
			{0, 0, false, ""},
			{200, 999 * time.Millisecond, false, ""},
			{200, time.Second, false, "request was slow"},
			{200, time.Hour, true, ""},
			{404, 0, false, "request refused"},
			{429, 0, true, "request refused"},
			{503, 0, false, "request failed"},
		} {
			time.Sleep(time.Second)
			got := serve(e.code, e.took, e.long)
			if !strings.Contains(got, e.want) || (e.want == "") != (got == "") {
				t.Errorf("%d after %v has the line %q, want %q", e.code, e.took, got, e.want)
			}
			if got != "" && !strings.Contains(got, "trace=4bf92f3577b34da6a3ce929d0e0e4736 span=00f067aa0ba902b7 door=rest") {
				t.Errorf("the line is %q", got)
			}
		}
		time.Sleep(time.Second)
		lines := 0
		for range 1000 { // within one second
			lines += strings.Count(serve(404, 0, false), "\n")
			time.Sleep(time.Millisecond)
		}
		if lines != 10 {
			t.Errorf("%d lines in a second", lines)
		}
	})
}
