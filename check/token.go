package check

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// learn finds out whether the server takes user tokens of those who ask; then calls with the app
// key carry one of the probe, if there is a secret to make it.
func (c *checker) learn(ctx context.Context) {
	a, err := c.call(ctx, http.MethodGet, "/v1/info", nil)
	var info struct{ Access struct{ Ask string } }
	if err == nil && a.status == http.StatusOK && json.Unmarshal(a.body, &info) == nil {
		c.asksByToken = info.Access.Ask == "token"
	}
}

// userToken returns a user token of the probe, "" where none is needed or can be made.
func (c *checker) userToken() string {
	if !c.asksByToken || c.TokenSecret == "" {
		return ""
	}
	part := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
	now := c.Now().Unix()
	claims := fmt.Sprintf(`{"sub":%q,"iat":%d,"exp":%d}`, c.peer, now, now+int64(time.Hour/time.Second))
	text := part([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + part([]byte(claims))
	mac := hmac.New(sha256.New, []byte(c.TokenSecret))
	mac.Write([]byte(text))
	return text + "." + part(mac.Sum(nil))
}
