//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"rollcall/internal/childtest"
)

// pairAt writes a certificate with serial and its key into dir.
func pairAt(t *testing.T, dir string, serial int64) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, fmt.Sprintf("%d.pem", serial)), filepath.Join(dir, fmt.Sprintf("%d.key", serial))
	for file, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// trusting is what a client of a server with such certificates uses.
var trusting = &tls.Config{InsecureSkipVerify: true} // the serial says which it was shown

// shownAt returns the serial of the certificate that a new connection is shown.
func shownAt(t *testing.T, address string) int64 {
	t.Helper()
	c, err := tls.Dial("tcp", address, trusting)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// Other files of a certificate are taken up by rollcall reload and by SIGHUP, and no socket is
// dropped.
func TestOtherFilesOfACertificateAreReloaded(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "rollcall.yaml")
	configure := func(serial int64) {
		t.Helper()
		cert, key := pairAt(t, dir, serial)
		text := "apps: [{id: one, app_key: theAppKey000000000001}]\ndata: \"\"\nlisten_tls: 127.0.0.1:0\ntls: {cert: " + cert + ", key: " + key + "}\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure(1)
	path, err := exec.LookPath("rollcall")
	if err != nil {
		t.Fatal(err)
	}
	hangups := make(chan os.Signal, 1) // as in TestScripts
	signal.Notify(hangups, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangups) })
	cmd := exec.Command(path, "serve", "--config", file, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	wait, err := childtest.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	out := newTee(stdout, filepath.Join(dir, "out"))
	defer func() {
		_ = cmd.Process.Kill()
		<-out.closed
		_ = wait() // killed
	}()
	select {
	case <-out.ready:
	case <-time.After(patience):
		t.Fatal("the server is not ready")
	}
	address, admin := strings.TrimPrefix(out.field("https"), "https://"), strings.TrimPrefix(out.field("operators"), "http://")
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: trusting}}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	socket, _, err := websocket.Dial(ctx, "wss://"+address+"/v1/socket", &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.CloseNow()
	says := func(text, want string) {
		t.Helper()
		if err := socket.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
		for {
			_, b, err := socket.Read(ctx)
			if err != nil {
				t.Fatalf("the open socket: %v", err)
			}
			if bytes.Contains(b, []byte(want)) {
				return
			}
		}
	}
	says(`{"op":"hello","id":1,"app":"one","key":"theAppKey000000000001"}`, `"id":1`)

	configure(2)
	var printed, errs bytes.Buffer
	if exit := run(ctx, []string{"reload", "--admin", admin}, os.Environ(), &printed, &errs); exit != 0 {
		t.Fatalf("reload ended with %d\n%s", exit, &errs)
	}
	for _, key := range []string{"tls.cert", "tls.key"} {
		if !strings.Contains(printed.String(), "changed     "+key+": ") {
			t.Errorf("reload printed\n%s", &printed)
		}
	}
	if got := shownAt(t, address); got != 2 {
		t.Errorf("after rollcall reload certificate %d is shown", got)
	}
	says(`{"op":"watch","id":2,"peers":["tom"]}`, `"id":2`)

	configure(3)
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); shownAt(t, address) != 3; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("after SIGHUP the certificate of before is shown")
		}
	}
	says(`{"op":"watch","id":3,"peers":["ann"]}`, `"id":3`)

	// Files that are not there change nothing; without files, TLS ends with the process.
	for _, c := range []struct {
		text string
		exit int
		want string
	}{
		{"listen_tls: 127.0.0.1:0\ntls: {cert: nowhere, key: nowhere}\n", exitMisused, "nothing was changed"},
		{"", 0, "next start  tls.cert: "},
	} {
		if err := os.WriteFile(file, []byte("apps: [{id: one, app_key: theAppKey000000000001}]\ndata: \"\"\n"+c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		printed.Reset()
		if exit := run(ctx, []string{"reload", "--admin", admin}, os.Environ(), &printed, &printed); exit != c.exit || !strings.Contains(printed.String(), c.want) {
			t.Errorf("reload ended with %d\n%s", exit, &printed)
		}
		if got := shownAt(t, address); got != 3 {
			t.Errorf("certificate %d is shown", got)
		}
	}
}
