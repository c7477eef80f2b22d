package changeout_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"rollcall/presence"
)

// BenchmarkDelivery is of one change, from its report to its receiver over HTTP, through a journal
// on disk.
func BenchmarkDelivery(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer server.Close()
	f := newFleet(b, false)
	f.receiver.URL, f.transport = server.URL, nil
	n := f.start(0)
	until(b, "the first call is taken", func() bool { return n.counts()["list_again"] > 0 })
	const most = 5000
	b.ResetTimer()
	for sent := 0; sent < b.N; sent += most {
		reports := make([]presence.Report, min(most, b.N-sent))
		for i := range reports {
			reports[i] = online(fmt.Sprint("p", sent+i))
		}
		f.report(reports...)
	}
	for n.counts()["delivered"] < int64(b.N) {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	n.close()
}
