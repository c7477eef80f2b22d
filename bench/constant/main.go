// Command constant is the floor of the benchmark: a Go net/http server that takes each request in
// and answers a constant body of the right size, knowing nothing. What another server costs beyond
// it is the price of its answer.
package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	answers := flag.String("answers", "", "sizes of bodies, REQUEST=ANSWER,…: a request of so many bytes gets an answer of so many; others get {}")
	flag.Parse()
	bodies, err := parseAnswers(*answers)
	if err == nil {
		err = http.ListenAndServe(*listen, handler(bodies))
	}
	fmt.Fprintln(os.Stderr, "constant:", err)
	os.Exit(1)
}

// parseAnswers makes a body for every size of request, of a form like a real answer.
func parseAnswers(list string) (map[int64][]byte, error) {
	bodies := map[int64][]byte{}
	for pair := range strings.SplitSeq(list, ",") {
		if pair == "" {
			continue
		}
		asked, answered, _ := strings.Cut(pair, "=")
		request, err1 := strconv.ParseInt(asked, 10, 64)
		size, err2 := strconv.Atoi(answered)
		const frame = `{"result":[""]}`
		if err1 != nil || err2 != nil || size < len(frame) {
			return nil, fmt.Errorf("-answers: %q", pair)
		}
		bodies[request] = []byte(`{"result":["` + strings.Repeat("1", size-len(frame)) + `"]}`)
	}
	return bodies, nil
}

func handler(bodies map[int64][]byte) http.Handler {
	nothing := []byte("{}")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := bodies[r.ContentLength]
		if !ok {
			body = nothing
		}
		// A server that answers truly has to read the request, so the floor does too.
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	})
}
