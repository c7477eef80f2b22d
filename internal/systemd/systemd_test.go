//go:build unix

package systemd_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"rollcall/internal/systemd"
)

// The process that inherits: it says what it was given, and answers on it.
func TestMain(m *testing.M) {
	if os.Getenv("SYSTEMD_TEST_CHILD") == "" {
		os.Exit(m.Run())
	}
	in, err := systemd.Inherit("listen", "listen_tls")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range []string{"listen", "listen_tls"} {
		l := in.Take(name)
		if l == nil {
			fmt.Println(name, "none")
			continue
		}
		fmt.Println(name, l.Addr())
		if c, err := l.Accept(); err == nil {
			_, _ = io.WriteString(c, name)
			_ = c.Close()
		}
	}
	fmt.Printf("%q\n", os.Getenv("LISTEN_FDS"))
	systemd.Ready()
}

// child starts the process that inherits files, with LISTEN_FDNAMES=names, and returns what it
// says.
func child(t *testing.T, names string, files []*os.File, more ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, os.Args[0])
	cmd.Env = append(os.Environ(), "SYSTEMD_TEST_CHILD=1", fmt.Sprint("LISTEN_FDS=", len(files)), "LISTEN_FDNAMES="+names)
	cmd.Env = append(cmd.Env, more...)
	cmd.ExtraFiles = files
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// socket returns a listening socket as a file, and its address.
func socket(t *testing.T) (*os.File, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f, l.Addr().String()
}

func TestSocketsAreInheritedByName(t *testing.T) {
	a, at := socket(t)
	b, bt := socket(t)
	for _, c := range []struct{ names, listen, tls string }{
		{"listen_tls:listen", bt, at}, {"", at, bt}, {"listen:listen_tls", at, bt},
	} {
		var first []net.Conn
		for _, address := range []string{at, bt} { // before there is a process to accept it
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			first = append(first, conn)
		}
		said := child(t, c.names, []*os.File{a, b})
		if want := "listen " + c.listen + "\nlisten_tls " + c.tls + "\n\"\"\n"; said != want {
			t.Errorf("names %q: %s instead of %s", c.names, said, want)
		}
		for _, conn := range first {
			if b, err := io.ReadAll(conn); err != nil || len(b) == 0 {
				t.Errorf("a connection that waited: %q %v", b, err)
			}
			_ = conn.Close()
		}
	}
}

func TestSocketsThatDoNotFitAreRefused(t *testing.T) {
	a, _ := socket(t)
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, c := range []struct {
		names string
		files []*os.File
		want  string
	}{
		{"rollcall.socket", []*os.File{a}, `"rollcall.socket"`},
		{"listen:listen", []*os.File{a, a}, "two of that name"},
		{"listen", []*os.File{file}, "inherited socket listen: "},
		{"", []*os.File{a, a, a}, "FileDescriptorName"},
	} {
		if said := child(t, c.names, c.files); !strings.Contains(said, c.want) {
			t.Errorf("names %q: %s", c.names, said)
		}
	}
	if said := child(t, "", nil); !strings.HasPrefix(said, "listen none\n") {
		t.Errorf("no sockets: %s", said)
	}
}

func TestTheServiceManagerIsNotified(t *testing.T) {
	name := t.TempDir() + "/notify"
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	child(t, "", nil, "NOTIFY_SOCKET="+name)
	b := make([]byte, 100)
	if n, err := l.Read(b); err != nil || string(b[:n]) != "READY=1" {
		t.Errorf("%q %v", b[:n], err)
	}
}
