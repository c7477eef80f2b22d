package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	operatordoor "rollcall/edge/operator"
	"rollcall/internal/configload"
	"rollcall/server/config"
)

type reloadCmd struct {
	operator
}

// Help is shown below the flags.
func (reloadCmd) Help() string {
	return `The server reads the file that it was started with again, takes up what may change while it runs (apps, keys, rates, the level of the log; docs/config.md marks them as live) and keeps its sockets and streams. A configuration with a mistake changes nothing. Variables are those that the server was started with. SIGHUP does the same for a server without a terminal.`
}

// Run has a running server read its settings again, and prints what that changed.
func (c *reloadCmd) Run(e *env) error {
	base, err := c.base(e)
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: answerWithin}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(e.ctx, http.MethodPost, base+"/reload", nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", base, err)
	}
	resp, err := client.Do(r)
	if err != nil {
		return unreached(base, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", base, err)
	}
	if resp.StatusCode != http.StatusOK {
		return notReloaded(base, resp.StatusCode, b)
	}
	var done operatordoor.Reloaded
	if err := json.Unmarshal(b, &done); err != nil {
		return &config.Hinted{Err: fmt.Errorf("%s does not answer as a rollcall server does", base), Hint: "name the operator listener, not the one for apps"}
	}
	if c.JSON {
		_, err = e.stdout.Write(b)
		return err
	}
	return printReloaded(e.stdout, &done)
}

// notReloaded returns why the server changed nothing.
func notReloaded(base string, status int, body []byte) error {
	var no operatordoor.Refusal
	if status != http.StatusUnprocessableEntity || json.Unmarshal(body, &no) != nil {
		return refused(base, status, body)
	}
	if len(no.Mistakes) > 0 {
		return fmt.Errorf("%w", append(no.Mistakes, configload.Problem{Text: "nothing was changed; the server goes on with the settings it had"}))
	}
	return &refusal{base, no.Code, no.Error}
}

func printReloaded(w io.Writer, done *operatordoor.Reloaded) error {
	var out bytes.Buffer
	for _, c := range done.Changed {
		fmt.Fprintf(&out, "changed     %s\n", c)
	}
	for _, c := range done.NextStart {
		fmt.Fprintf(&out, "next start  %s\n", c)
	}
	switch {
	case len(done.Changed) == 0 && len(done.NextStart) == 0:
		fmt.Fprintf(&out, "reloaded; nothing differs\n")
	case len(done.NextStart) > 0:
		fmt.Fprintf(&out, "\nWhat is marked \"next start\" takes effect when the server starts again.\n")
	}
	_, err := w.Write(out.Bytes())
	return err
}
