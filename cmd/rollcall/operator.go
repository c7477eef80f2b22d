package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"rollcall/internal/running"
	"rollcall/presence"
	"rollcall/server/config"
)

// listening says how a command reaches the operator listener of a running server.
type listening struct {
	Admin string `placeholder:"ADDR" help:"Operator listener of the server; default: where the server of the data directory says it listens (ROLLCALL_ADMIN)."`
	Data  string `placeholder:"DIR" help:"Data directory of the server; default ./rollcall-data (ROLLCALL_DATA)."`
}

// operator is listening for a command that prints JSON when asked to.
type operator struct {
	listening
	JSON bool `help:"Print JSON."`
}

// dataDir returns the data directory that the command is about.
func (o *listening) dataDir(environ []string) string {
	if o.Data != "" {
		return o.Data
	}
	if dir := variable(environ, "ROLLCALL_DATA"); dir != "" {
		return dir
	}
	return config.Default().Data
}

// address returns where the server listens for operators.
func (o *listening) address(environ []string) string {
	if o.Admin != "" {
		return o.Admin
	}
	if o.Data == "" {
		if a := variable(environ, "ROLLCALL_ADMIN"); a != "" {
			return a
		}
	}
	if at, err := running.Read(o.dataDir(environ)); err == nil && at.Admin != "" {
		return at.Admin
	}
	return config.Default().Admin
}

// base returns where the commands ask, or says why that is no address.
func (o *listening) base(e *env) (string, error) {
	address := o.address(e.environ)
	base := baseURL(address)
	u, err := url.Parse(base)
	port := 0
	if err == nil {
		port, err = strconv.Atoi(u.Port())
	}
	if err != nil || port < 1 || port > 65535 || u.Path != "" || u.RawQuery != "" || u.User != nil {
		fmt.Fprintf(e.stderr, "rollcall: %q is not the address of an operator listener\nrollcall: hint: it is written as HOST:PORT, such as %s\n", address, config.Default().Admin)
		return "", errMisused
	}
	return base, nil
}

// answerWithin is how long a server may take to begin an answer; a store that is out of reach has
// been given up by then.
var answerWithin = 10 * time.Second

// unreached says why there is no answer from base.
func unreached(base string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return &config.Hinted{
			Err:  fmt.Errorf("%s has not answered within %v", base, answerWithin),
			Hint: "if it is a rollcall server, its process stands still or its machine is overloaded",
		}
	}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return &config.Hinted{
			Err:  fmt.Errorf("no server answers at %s: %w", base, err),
			Hint: "is it running? Name its operator listener with --admin, or its data directory with --data",
		}
	}
	return &config.Hinted{
		Err:  fmt.Errorf("%s does not answer as a rollcall server does: %w", base, err),
		Hint: "name the operator listener of a rollcall server with --admin, or its data directory with --data",
	}
}

// get asks the server for path and returns its JSON, also decoded into v, and the head of the
// answer.
func (o *listening) get(e *env, path string, query url.Values, v any) ([]byte, http.Header, error) {
	base, err := o.base(e)
	if err != nil {
		return nil, nil, err
	}
	b, status, header, err := o.fetch(e, base, path+"?"+query.Encode())
	if err != nil {
		return nil, nil, err
	}
	if status != http.StatusOK {
		return nil, nil, refused(base, status, b)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return nil, nil, &config.Hinted{Err: fmt.Errorf("%s does not answer as a rollcall server does", base), Hint: "name the operator listener, not the one for apps"}
	}
	return b, header, nil
}

// fetch asks base for target and returns the answer, whatever its status is.
func (o *listening) fetch(e *env, base, target string) ([]byte, int, http.Header, error) {
	client := &http.Client{Timeout: answerWithin}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(e.ctx, http.MethodGet, base+target, nil)
	if err != nil {
		return nil, 0, nil, fmt.Errorf("ask %s: %w", base, err)
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, 0, nil, unreached(base, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, 0, nil, fmt.Errorf("read the answer of %s: %w", base, err)
	}
	return b, resp.StatusCode, resp.Header, nil
}

// check asks the server whether it is ready; when it is not, the reason is the error.
func (o *operator) check(e *env) error {
	base, err := o.base(e)
	if err != nil {
		return err
	}
	b, status, _, err := o.fetch(e, base, "/readyz")
	if err != nil {
		return err
	}
	var answer struct{ Status, Why string }
	if json.Unmarshal(b, &answer) != nil || answer.Status == "" {
		return refused(base, status, b)
	}
	if o.JSON {
		if _, err := e.stdout.Write(b); err != nil {
			return err
		}
	}
	if status != http.StatusOK {
		if answer.Why != "" {
			answer.Status += ": " + answer.Why
		}
		return fmt.Errorf("%s is not ready: %s", base, answer.Status)
	}
	if !o.JSON {
		_, err = fmt.Fprintln(e.stdout, answer.Status)
	}
	return err
}

// A refusal is an error that the server answered.
type refusal struct{ base, code, text string }

func (r *refusal) Error() string { return r.base + ": " + r.text }

// refusalCode returns the code of the refusal in err, or "".
func refusalCode(err error) string {
	var r *refusal
	if errors.As(err, &r) {
		return r.code
	}
	return ""
}

// refused returns the error that the server answered, or that it answered none.
func refused(base string, status int, body []byte) error {
	var answer struct{ Code, Error string }
	if status == http.StatusNotFound || json.Unmarshal(body, &answer) != nil || answer.Error == "" {
		return &config.Hinted{Err: fmt.Errorf("%s answered %d", base, status), Hint: "name the operator listener, not the one for apps; a server that still starts answers a moment later"}
	}
	err := &refusal{base, answer.Code, answer.Error}
	if answer.Code == "unavailable" {
		return &config.Hinted{Err: err, Hint: "\"rollcall status\" shows what the store lacks"}
	}
	return err
}

// stamp writes a time for people; "" when it is not known.
func stamp(m presence.Millis) string {
	if m == 0 {
		return ""
	}
	return m.Time().Format("2006-01-02T15:04:05.000Z")
}
