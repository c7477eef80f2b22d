package api

import (
	"fmt"
	"net/http"
)

// What is refused below the doors, before one of them is reached.

// Starting answers r before the store is open. Outside the native API the code is a number, as SDKs
// of the dialect read it.
func Starting(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Retry-After", "1")
	if Owns(r.URL.Path) {
		WriteError(w, Errorf("unavailable", "the server is starting"))
		return
	}
	h.Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte(`{"code":503,"error":"starting"}` + "\n"))
}

// Full is what a client reads for which there is no connection left: a whole HTTP/1.1 answer.
var Full = func() []byte {
	const body = `{"code":"full","error":"the server holds as many connections as it may, for this address or altogether"}` + "\n"
	return fmt.Appendf(nil, "HTTP/1.1 503 Service Unavailable\r\nAccess-Control-Allow-Origin: *\r\nConnection: close\r\nContent-Length: %d\r\n"+
		"Content-Type: application/json\r\nRetry-After: 5\r\n\r\n%s", len(body), body)
}()

// CodeBelow returns what stands as "code" in a refusal of target with status that is made before a
// request is read, and has g count it. g may be nil.
func CodeBelow(g *Gate, target string, status int) any {
	if !Owns(target) {
		return 1
	}
	code := "bad_request"
	if status == http.StatusRequestHeaderFieldsTooLarge {
		code = "head_too_large"
	}
	if g != nil {
		g.Count(code)
	}
	return code
}
