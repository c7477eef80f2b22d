package tencent

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"
)

// opened returns what a UserSig holds; nil when it is none.
func opened(sig string) map[string]any {
	packed, err := base64.StdEncoding.DecodeString(strings.NewReplacer("*", "+", "-", "/", "_", "=").Replace(sig))
	if err != nil {
		return nil
	}
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil
	}
	text, err := io.ReadAll(z)
	var v map[string]any
	if err != nil || json.Unmarshal(text, &v) != nil {
		return nil
	}
	return v
}

// Signed reports whether sig was made with key.
func Signed(sig, appID, user, key string) bool {
	v := opened(sig)
	at, ok := v["TLS.time"].(float64)
	return ok && reflect.DeepEqual(v, opened(userSig(appID, user, key, int64(at))))
}

// TestUserSig: what Tencent's own package (tls-sig-api-v2 1.0.2 of npm) made at that second, with
// the example key of its documentation.
func TestUserSig(t *testing.T) {
	const theirs = "eJw1issOgjAQRf9l1oaXPKSJC8JKoyswui3pYEak1rYiqfHfTQDv7p5zPlAfKm9ADQwiL4DV9EmgtNTShLnoSZKxmtuHXgIjOq4UCWBhHCybjaUegYVZnmzSJI*ymeKoSCOwdfrvDF2BgXDWOmxU7Ch6Fnu-HKp7bY5deyluTY3v85hSuXv5nTxt4fsDvYs1Wg__"
	const key = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
	if got, want := opened(userSig("1400000000", "administrator", key, 1795865927)), opened(theirs); want == nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
