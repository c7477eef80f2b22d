package rest

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"testing"
)

// A discard is a reader of an answer of which only the size counts.
type discard struct {
	header http.Header
	status int
	n      int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(b []byte) (int, error) { d.n += len(b); return len(b), nil }

// Readers without gzip have what readers with gzip unpack, and a validator that saves them the
// rest.
func TestThePageIsTheSameWithoutGzip(t *testing.T) {
	if len(files()) == 0 {
		t.Fatal("the page has no packed file")
	}
	for name := range files() {
		get := func(header, value string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, "/openapi/"+name, http.NoBody)
			r.Header.Set(header, value)
			if err := (&Door{}).page(w, r, nil); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return w
		}
		packed, plain := get("Accept-Encoding", "gzip"), get("Accept-Encoding", "identity")
		if packed.Header().Get("Content-Encoding") != "gzip" || plain.Header().Get("Content-Encoding") != "" {
			t.Errorf("%s: encodings %q and %q", name, packed.Header().Get("Content-Encoding"), plain.Header().Get("Content-Encoding"))
		}
		z, err := gzip.NewReader(packed.Body)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want, err := io.ReadAll(z)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if plain.Body.String() != string(want) || plain.Header().Get("Content-Length") != strconv.Itoa(len(want)) {
			t.Errorf("%s: %d bytes, length %s, want %d", name, plain.Body.Len(), plain.Header().Get("Content-Length"), len(want))
		}
		for _, h := range []string{"Content-Type", "Vary", "Content-Security-Policy"} {
			if a, b := plain.Header().Get(h), packed.Header().Get(h); a != b || a == "" {
				t.Errorf("%s: %s is %q, packed %q", name, h, a, b)
			}
		}
		if w := get("If-None-Match", plain.Header().Get("Etag")); w.Code != http.StatusNotModified || w.Body.Len() != 0 {
			t.Errorf("%s: with its tag: %d and %d bytes", name, w.Code, w.Body.Len())
		}
	}
}

// A file is unpacked once: another reader costs nothing of its size, and all files together little.
func TestAFileOfThePageIsUnpackedOnce(t *testing.T) {
	held := 0
	for name, unpacked := range files() {
		f, err := unpacked()
		if err != nil {
			t.Fatal(err)
		}
		held += cap(f.text)
		r := httptest.NewRequest(http.MethodGet, "/openapi/"+name, http.NoBody)
		const readers = 100
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range readers {
			w := &discard{header: http.Header{}}
			if err := (&Door{}).page(w, r, nil); err != nil || w.n != len(f.text) {
				t.Fatalf("%s: %d bytes, %v", name, w.n, err)
			}
		}
		runtime.ReadMemStats(&after)
		if each := (after.TotalAlloc - before.TotalAlloc) / readers; each > 4<<10 {
			t.Errorf("%s: a reader without gzip costs %d bytes", name, each)
		}
	}
	t.Logf("%d bytes are kept", held)
	if held > 5<<19 { // 2.5 MiB
		t.Errorf("%d bytes are kept", held)
	}
}
