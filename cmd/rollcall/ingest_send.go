package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/all"
	"rollcall/edge/webhook/trial"
	"rollcall/server/config"
)

type ingestSendCmd struct {
	sourceFlags
	At   string `placeholder:"TIME" help:"Time of the proof, such as 2026-12-01T08:00:00+08:00; default now."`
	Kind string `arg:"" help:"Kind of the source, such as tencent."`
	File string `arg:"" help:"The call: the head of an HTTP request, an empty line and its body, or the body alone; - is standard input."`
	URL  string `arg:"" name:"url" help:"Address of the source, without its secret: https://HOST/ingest/APP/ID."`
}

// Help is shown below the flags.
func (ingestSendCmd) Help() string {
	return `Gives the call a new proof, made with the secret at the time of --at, sends it once and prints the answer. A proof that the call has is replaced; without a secret it is sent as it is. Where the proof is in the path, the first part of --path is put in place by the secret.` +
		"\n\nThe server keeps what the call says. Times of events stay as they are, but for kinds whose proof covers the time of the event (easemob, zim)." +
		"\n\nA redirect is not followed: no product does. It fails when the answer is none of 200 to 299."
}

// Run sends the call.
func (c *ingestSendCmd) Run(e *env) error {
	base, path, err := sourceAddress(c.URL)
	if err != nil {
		return misused(e, err)
	}
	set := config.Source{ID: "source", Kind: c.Kind, AppID: c.Appid}
	if _, mapped := webhook.Find(all.Kinds, c.Kind).(webhook.Maker); mapped {
		set.Map = "." // the server has the map, and signing needs none
	}
	s, err := c.made(e, set, c.File)
	if err != nil {
		return misused(e, err)
	}
	at, err := timeOf(c.At)
	if err != nil {
		return misused(e, err)
	}
	file, err := c.call(e, c.File)
	if err != nil {
		return err
	}
	r, err := file.To(path)
	if errors.Is(err, trial.ErrFile) {
		return misused(e, err)
	}
	if err == nil && s.Secret != "" {
		err = s.Kind.Sign(r, s, at)
	}
	if err != nil {
		return fmt.Errorf("the call cannot be signed: %w", err)
	}
	return sendCall(e, base, r, s)
}

// sourceAddress parts the address of a source into that of the server and the path.
func sourceAddress(text string) (base, path string, err error) {
	u, err := url.Parse(text)
	const shape = "the address of a source is https://HOST/ingest/APP/ID"
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return "", "", errors.New(shape)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", "", errors.New(shape + ", without a user or a query")
	}
	below, ok := strings.CutPrefix(strings.TrimSuffix(u.Path, "/"), webhook.Prefix)
	app, id, _ := strings.Cut(below, "/")
	if !ok || app == "" || id == "" || strings.Contains(id, "/") {
		return "", "", errors.New(shape + "; what stands behind it is given by --path, and the secret by --secret")
	}
	return u.Scheme + "://" + u.Host, webhook.Prefix + below, nil
}

const (
	// sendWithin is how long an answer may take; no product waits as long.
	sendWithin = 20 * time.Second
	// shownAnswer is how much of an answer is printed.
	shownAnswer = 2000
)

// sendCall sends r to the server at base and prints the answer. No error names the secret of s.
func sendCall(e *env, base string, r *webhook.Request, s *webhook.Source) error {
	req, err := http.NewRequestWithContext(e.ctx, r.Method, base+r.Target(), bytes.NewReader(r.Body))
	if err != nil {
		return errors.New("the call cannot be sent: its method, path or headers are not those of HTTP")
	}
	req.Header = r.Header
	client := &http.Client{Timeout: sendWithin, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		if u := (*url.Error)(nil); errors.As(err, &u) { // it has the address, with the secret
			err = u.Err
		}
		return fmt.Errorf("no answer from %s: %w", base, err)
	}
	defer resp.Body.Close()
	// A part of an answer is better than none.
	body, _ := io.ReadAll(io.LimitReader(resp.Body, shownAnswer))
	text := strings.TrimSpace(string(body))
	if s.Secret != "" { // the pages of a proxy name the path
		text = strings.ReplaceAll(text, s.Secret, webhook.Struck)
	}
	fmt.Fprintf(e.stdout, "proof    %s\n", sentProof(s))
	fmt.Fprintf(e.stdout, "answer   %d %s\n", resp.StatusCode, visible(text))
	if resp.StatusCode/100 == 2 {
		return nil
	}
	return refusedCall(resp)
}

func sentProof(s *webhook.Source) string {
	if s.Secret == "" {
		return "none, since there is no secret"
	}
	return "signed as " + s.Kind.Name() + " does"
}

// refusedCall says why a call was not taken, and what to look at.
func refusedCall(resp *http.Response) error {
	if to, err := resp.Location(); err == nil && resp.StatusCode/100 == 3 {
		return &config.Hinted{
			Err:  fmt.Errorf("the answer is a redirect to %s://%s, which no product follows", to.Scheme, visible(to.Host)),
			Hint: "the address in the console of the product is the one that answers itself, mostly that with https",
		}
	}
	hint := "docs/sources.md has the refusals"
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		hint = "compare --secret, and --appid, with the settings of the source, and the kind; a proof that ages is held against the clock of the server"
	case http.StatusForbidden:
		hint = "a call whose body is not signed must come over https, or from a network that the source allows"
	case http.StatusNotFound:
		hint = "the path is /ingest/APP/ID, with the id of the app and that of the source; a proxy in front must lead it here"
	}
	return &config.Hinted{Err: fmt.Errorf("the call was not taken: %d", resp.StatusCode), Hint: hint}
}
