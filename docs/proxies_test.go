package docs_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What stood at the domain before, and says as which host it is asked.
func startBefore(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "before %s %s", r.Host, r.URL.Path)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

const leanHost = "app.lc-cn-n1-shared.com"

// A proxy runs a block of a page on a port, in front of rollcall and of what stood there before.
type proxy struct {
	name string
	run  func(t *testing.T, block, port string)
}

var proxies = []proxy{
	{"nginx", func(t *testing.T, block, port string) { startNginx(t, port, block) }},
	{"caddy", func(t *testing.T, block, port string) {
		dir := t.TempDir()
		name := filepath.Join(dir, "Caddyfile")
		block = strings.Replace(block, "im.example.com", "http://127.0.0.1:"+port, 1)
		if err := os.WriteFile(name, []byte("{\n\tadmin off\n}\n"+block), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("caddy", "run", "--config", name, "--adapter", "caddyfile")
		cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
		start(t, cmd)
	}},
}

// start runs block in front of server and before, and returns its address and the host by which
// before is asked.
func (p *proxy) start(t *testing.T, block, server, before string) (domain, host string) {
	t.Helper()
	host = leanHost
	if p.name == "caddy" { // it names the upstream itself
		host = strings.TrimPrefix(before, "http://")
	}
	block = strings.ReplaceAll(block, "127.0.0.1:3000", server)
	block = strings.ReplaceAll(block, "https://<id>.lc-cn-n1-shared.com", before)
	block = strings.ReplaceAll(block, "<id>.lc-cn-n1-shared.com", leanHost)
	port := freePort(t)
	p.run(t, block, port)
	domain = "http://127.0.0.1:" + port
	listens(t, p.name, "127.0.0.1:"+port)
	return domain, host
}

// startNginx starts nginx on a port of this machine, with the locations of a page.
func startNginx(t *testing.T, port, locations string) {
	t.Helper()
	dir := t.TempDir()
	config := fmt.Sprintf(`daemon off; error_log stderr; pid %[1]s/pid; worker_processes 1;
		events {} http { access_log off; client_body_buffer_size 2m; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
		map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
		server { listen 127.0.0.1:%[2]s;
		%[3]s } }`, dir, port, locations)
	name := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(name, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, exec.Command(sbin("nginx"), "-p", dir, "-e", "stderr", "-c", name))
}

// listens waits until a server answers at an address.
func listens(t *testing.T, what, address string) {
	t.Helper()
	eventually(t, what+" listens", func() bool {
		resp, err := http.Get("http://" + address + "/")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil
	})
}

// sbin finds a program that a user's PATH may lack on Debian.
func sbin(name string) string {
	if found, err := exec.LookPath(name); err == nil {
		return found
	}
	return filepath.Join("/usr/sbin", name)
}
