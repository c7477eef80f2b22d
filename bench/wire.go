package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
)

// A wire lays out requests and judges answers in one server's language. Each connection has its
// own, because the slices that query and hook return are overwritten by the next call.
type wire interface {
	// query asks for the status of peers; states is the truth about each.
	query(peers []int, states []byte) (request []byte)
	// hook reports that a peer came online or went offline.
	hook(peer int, on bool) (request []byte)
	// read takes the next whole answer off the connection.
	read(c *conn) (answer []byte, err error)
	// judge compares an answer with the truth about the latest request.
	judge(answer []byte) error
}

// Credentials of the app that all servers serve. They open nothing outside a run.
const (
	appID     = "benchAppId0000000000001"
	appKey    = "benchAppKey000000000001"
	masterKey = "benchMasterKey000000001"
	hookKey   = "benchHookKey00000000001"
)

// credentials is the environment by which servers that understand LeanEngine's get them.
func credentials() []string {
	return []string{
		"LEANCLOUD_APP_ID=" + appID,
		"LEANCLOUD_APP_KEY=" + appKey,
		"LEANCLOUD_APP_MASTER_KEY=" + masterKey,
		"LEANCLOUD_APP_HOOK_KEY=" + hookKey,
	}
}

// leancloudWire speaks the LeanCloud dialect over HTTP/1.1.
type leancloudWire struct {
	host        string
	ask         []byte // the latest layout of a query, for asked ids
	asked       int
	first       int // where in ask the first id starts
	on, off     []byte
	onID, offID int // where the id starts

	peers  []int
	states []byte
	want   []byte
}

const (
	queryPath   = "/1.1/functions/getOnOffStatus"
	onlinePath  = "/1.1/functions/_clientOnline"
	offlinePath = "/1.1/functions/_clientOffline"
)

func newLeancloudWire(host string) *leancloudWire {
	w := &leancloudWire{host: host}
	zero := string(appendID(nil, 0))
	const start = `{"peerId":"`
	w.on = w.post(onlinePath, true, start+zero+`","sourceIP":"203.0.113.7","reconnect":0}`)
	w.onID = bytes.Index(w.on, []byte(start)) + len(start)
	// Close code 1 is a logout: of all ways to go offline the one that is visible to queries at
	// once.
	w.off = w.post(offlinePath, true, start+zero+`","closeCode":1,"closeMsg":"logged out","sourceIP":"203.0.113.7"}`)
	w.offID = bytes.Index(w.off, []byte(start)) + len(start)
	return w
}

// post lays out what an SDK sends, without its User-Agent.
func (w *leancloudWire) post(path string, hook bool, body string) []byte {
	b := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nX-LC-Id: %s\r\nX-LC-Key: %s\r\n", path, w.host, appID, appKey)
	if hook {
		b = fmt.Appendf(b, "X-LC-Hook-Key: %s\r\n", hookKey)
	}
	return fmt.Appendf(b, "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

const queryStart = `{"peerIds":["`

func queryBody(ids int) string {
	b := []byte(queryStart)
	for i := range ids {
		if i > 0 {
			b = append(b, `","`...)
		}
		b = appendID(b, 0)
	}
	return string(append(b, `"]}`...))
}

func (w *leancloudWire) query(peers []int, states []byte) []byte {
	if w.asked != len(peers) {
		w.ask = w.post(queryPath, false, queryBody(len(peers)))
		w.first = bytes.Index(w.ask, []byte(queryStart)) + len(queryStart)
		w.asked = len(peers)
	}
	for i, p := range peers {
		putID(w.ask[w.first+i*(idWidth+len(`","`)):], p)
	}
	w.peers, w.states = peers, states
	w.want = append(w.want[:0], `{"result":[`...)
	for _, s := range states {
		if s == unknown {
			w.want = append(w.want, "null,"...)
		} else {
			w.want = append(w.want, '"', s, '"', ',')
		}
	}
	w.want[len(w.want)-1] = ']'
	w.want = append(w.want, '}')
	return w.ask
}

func (w *leancloudWire) hook(peer int, on bool) []byte {
	w.peers, w.states = nil, nil
	w.want = append(w.want[:0], "{}"...)
	if on {
		putID(w.on[w.onID:], peer)
		return w.on
	}
	putID(w.off[w.offID:], peer)
	return w.off
}

func (w *leancloudWire) read(c *conn) ([]byte, error) {
	status, body, err := c.readHTTP()
	if err != nil {
		return nil, err
	}
	if status != 200 {
		return nil, fmt.Errorf("answered %d: %.300s", status, body)
	}
	return body, nil
}

func (w *leancloudWire) judge(answer []byte) error {
	if bytes.Equal(bytes.TrimRight(answer, "\r\n"), w.want) {
		return nil
	}
	// Other white space or other escapes would be right too; only wrong values are wrong.
	var got, want any
	if err := json.Unmarshal(answer, &got); err != nil {
		return wrong("answered %.300q: %w", answer, err)
	}
	if err := json.Unmarshal(w.want, &want); err != nil {
		return err
	}
	if reflect.DeepEqual(got, want) {
		return nil
	}
	object, _ := got.(map[string]any)
	list, ok := object["result"].([]any)
	if !ok || len(w.states) == 0 || len(list) != len(w.states) {
		return wrong("answered %.300s, the truth is %.300s", answer, w.want)
	}
	truths := want.(map[string]any)["result"].([]any)
	for i := range list {
		if list[i] != truths[i] {
			return wrong("said of %s, element %d of %d, %#v; the truth is %#v", appendID(nil, w.peers[i]), i, len(list), list[i], truths[i])
		}
	}
	return wrong("answered %.300s, the truth is %.300s", answer, w.want)
}

// A wrongError is an answer that differs from the truth.
type wrongError struct{ error }

func wrong(format string, args ...any) error { return &wrongError{fmt.Errorf(format, args...)} }

// constantWire sends the same requests and looks only at the size of the answer.
type constantWire struct{ *leancloudWire }

func (w constantWire) judge(answer []byte) error {
	want := len("{}")
	if len(w.states) > 0 {
		want = answerSize(len(w.states))
	}
	if len(answer) != want {
		return wrong("answered %d bytes, not %d", len(answer), want)
	}
	return nil
}

// answerSize is the size of the right answer to a query of so many ids: as many are unknown as in
// the works.
func answerSize(ids int) int {
	return len(`{"result":[]}`) + ids*len(`"1"`) + ids/unknownEvery*(len("null")-len(`"1"`)) + ids - 1
}

// respWire speaks to the Redis of the recipe without anything between.
type respWire struct {
	ask     []byte
	asked   int
	first   int
	on, off []byte
	want    []byte
}

func newRespWire() *respWire {
	id := string(appendID(nil, 0))
	return &respWire{on: command("SET", id, "1"), off: command("SET", id, "0", "EX", offlineSeconds)}
}

// offlineSeconds is how long the recipe remembers that a peer is offline: 7 days.
const offlineSeconds = "604800"

func command(args ...string) []byte {
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b
}

func (w *respWire) query(peers []int, states []byte) []byte {
	if w.asked != len(peers) {
		args := []string{"MGET"}
		for range peers {
			args = append(args, string(appendID(nil, 0)))
		}
		w.ask = command(args...)
		w.first = bytes.Index(w.ask, []byte(idPrefix))
		w.asked = len(peers)
	}
	const stride = len("$15\r\n") + idWidth + len("\r\n")
	for i, p := range peers {
		putID(w.ask[w.first+i*stride:], p)
	}
	w.want = append(w.want[:0], '*')
	w.want = strconv.AppendInt(w.want, int64(len(peers)), 10)
	w.want = append(w.want, "\r\n"...)
	for _, s := range states {
		if s == unknown {
			w.want = append(w.want, "$-1\r\n"...)
		} else {
			w.want = append(w.want, '$', '1', '\r', '\n', s, '\r', '\n')
		}
	}
	return w.ask
}

func (w *respWire) hook(peer int, on bool) []byte {
	w.want = append(w.want[:0], "+OK\r\n"...)
	b := w.off
	if on {
		b = w.on
	}
	putID(b[bytes.Index(b, []byte(idPrefix)):], peer)
	return b
}

func (w *respWire) read(c *conn) ([]byte, error) { return c.readRESP() }

func (w *respWire) judge(answer []byte) error {
	if !bytes.Equal(answer, w.want) {
		return wrong("answered %.300q, the truth is %.300q", answer, w.want)
	}
	return nil
}
