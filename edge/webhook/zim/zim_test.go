package zim_test

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/sourcetest"
	"rollcall/edge/webhook/zim"
	"rollcall/presence"
)

func call(os string, action int, at int64) sourcetest.Call {
	return sourcetest.Call{Body: fmt.Sprintf(
		`{"appid":"77","event":"user_action","timestamp":%d,"nonce":"350176","signature":"","user_id":"u1","os":"%s","action":%d}`, at, os, action)}
}

func signature(secret, stamp string) string {
	parts := []string{secret, stamp, "350176"}
	slices.Sort(parts)
	sum := sha1.Sum([]byte(strings.Join(parts, "")))
	return hex.EncodeToString(sum[:])
}

// sign fills in the proof, which is inside the body.
func sign(c *sourcetest.Call, secret string, at presence.Millis) {
	_, rest, ok := strings.Cut(c.Body, `"timestamp":`)
	if !ok {
		return
	}
	stamp, _, _ := strings.Cut(rest, ",")
	if away := int64(at) - now; away != 0 && len(stamp) == 10 {
		moved := fmt.Sprint(int64(at)/1000 + 1)
		c.Body = strings.Replace(c.Body, stamp, moved, 1)
		stamp = moved
	}
	c.Body = strings.Replace(c.Body, `"signature":""`, `"signature":"`+signature(secret, stamp)+`"`, 1)
}

const now = 1767225700000

func TestStories(t *testing.T) {
	const at = 1767225600
	sourcetest.Run(t, sourcetest.Suite{
		Kind: zim.Kind{}, Sign: sign, Now: now, Window: 5*time.Minute + time.Second, Source: webhook.Source{AppID: "77"},
		Stories: []sourcetest.Story{
			{Name: "comes", Peer: "u1", Want: presence.Online, Open: []string{"ios_phone"}, Calls: []sourcetest.Call{call("IOS_PHONE", 0, at)}},
			{Name: "goes", Peer: "u1", Want: presence.Offline, Calls: []sourcetest.Call{call("WEB", 0, at), call("WEB", 1, at+9)}},
			{Name: "is lost on one of two systems", Peer: "u1", Want: presence.Online, Open: []string{"pc"}, Calls: []sourcetest.Call{
				call("ANDROID", 0, at), call("PC", 0, at+1), call("ANDROID", 4, at+9),
			}},
		},
	})
}

// The vector of the specification, as JSON and escaped as in a URL.
func TestVector(t *testing.T) {
	body := `{"appid":"77","event":"user_action","timestamp":1767225600,"nonce":"350176","signature":"bc8445342f6cce9a69964e1ef2059e826df78f12","user_id":"u1","os":"WEB","action":0}`
	for _, b := range []string{body, url.QueryEscape(body)} {
		srv := sourcetest.Open(t, webhook.Source{Kind: zim.Kind{}, Secret: "rcSecret", AppID: "77"}, now)
		status, answer := srv.Send(sourcetest.Call{Body: b})
		if st := srv.State("u1"); status != 200 || st.Status != presence.Online {
			t.Errorf("%.20s: %d %s, u1 is %v", b, status, answer, st.Status)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(call("WEB", 0, 1767225600).Body)
	f.Add(call("ANDROID", 3, 1767225600).Body)
	sourcetest.Fuzz(f, zim.Kind{}, webhook.Source{}, sign)
}
