package tencent

import (
	"bytes"
	"compress/zlib"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
)

// sigLife is how many seconds a signature is valid. Each call has its own.
const sigLife = 3600

// userSig returns the UserSig of user in the app with that SDKAppID, made with its secret key at
// now, in Unix seconds: the second version (HMAC-SHA256), as Tencent documents it.
func userSig(appID, user, key string, now int64) string {
	m := hmac.New(sha256.New, []byte(key))
	stamp, life := strconv.FormatInt(now, 10), strconv.Itoa(sigLife)
	m.Write([]byte("TLS.identifier:" + user + "\nTLS.sdkappid:" + appID + "\nTLS.time:" + stamp + "\nTLS.expire:" + life + "\n"))
	text, err := json.Marshal(map[string]any{
		"TLS.ver": "2.0", "TLS.identifier": user, "TLS.sdkappid": json.Number(appID), "TLS.expire": sigLife, "TLS.time": now,
		"TLS.sig": base64.StdEncoding.EncodeToString(m.Sum(nil)),
	})
	if err != nil {
		return "" // the app id is no number, which Check refuses
	}
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	// A buffer takes everything.
	_, _ = z.Write(text)
	_ = z.Close()
	return strings.NewReplacer("+", "*", "/", "-", "=", "_").Replace(base64.StdEncoding.EncodeToString(packed.Bytes()))
}
