package check_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rollcall/check"
)

// A setup is a proxy in front of rollcall, right or wrong on purpose.
type setup struct {
	name   string
	config string            // of the proxy's site
	cert   string            // "" is the good one
	hold   string            // how long to hold; "" is not at all
	fails  map[string]string // the checks that fail, with the heading of the cure
	skips  []string          // further checks that are skipped
}

const (
	forward = `proxy_pass http://ROLLCALL; proxy_http_version 1.1; proxy_set_header Host $http_host;
		proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-For $remote_addr;`
	upgrade = `proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;`
)

var afterTLS = []string{"function", "body", "hooks", "address", "clock", "route", "socket", "native", "stream", "hold"}

var nginxes = []setup{
	{name: "right", config: "location / { " + forward + upgrade + " }", hold: "2s"},
	{
		name: "no upgrade", config: "location / { " + forward + " }",
		fails: map[string]string{"socket": "upgrades", "native": "upgrades", "stream": "upgrades"},
	},
	{
		name: "buffering", config: "location / { " + forward + upgrade + " proxy_buffering on; proxy_ignore_headers X-Accel-Buffering; }",
		fails: map[string]string{"stream": "buffering"},
	},
	{
		name:   "the host of the server",
		config: "location / { " + strings.Replace(forward, "$http_host", "ROLLCALL", 1) + upgrade + " }",
		fails:  map[string]string{"route": "the-route"}, skips: []string{"socket"},
	},
	{
		name:   "no scheme",
		config: "location / { " + strings.Replace(forward, "$scheme", "http", 1) + upgrade + " }",
		fails:  map[string]string{"route": "the-route"}, skips: []string{"socket"},
	},
	{
		name: "a proxy that is not named", config: "location / { proxy_bind 127.0.0.9; " + forward + upgrade + " }",
		fails: map[string]string{"address": "the-address-of-clients", "route": "the-route"}, skips: []string{"socket"},
	},
	{
		name:   "addresses as clients write them",
		config: "location / { " + strings.Replace(forward, "$remote_addr", "$http_x_forwarded_for", 1) + upgrade + " }",
		fails:  map[string]string{"address": "the-address-of-clients"},
	},
	{
		name: "cuts what is silent", config: "location / { " + forward + upgrade + " proxy_read_timeout 1s; }", hold: "5s",
		fails: map[string]string{"hold": "cut-connections"},
	},
	{
		name: "small bodies", config: "client_max_body_size 100k; location / { " + forward + upgrade + " }",
		fails: map[string]string{"body": "bodies"},
	},
	{
		name: "TLS 1.3 alone", config: "ssl_protocols TLSv1.3; location / { " + forward + upgrade + " }",
		fails: map[string]string{"tls": "old-tls"},
	},
	{
		name: "a redirect", config: "location / { return 301 https://other.example$request_uri; }",
		fails: map[string]string{"function": "redirects", "body": "redirects", "hooks": "redirects", "address": "redirects", "route": "redirects", "native": "redirects", "stream": "redirects"},
		skips: []string{"socket"},
	},
	{
		name: "the functions alone", config: `location ~ ^/1(\.1)?/(functions|call)/ { ` + forward + ` } location / { return 404; }`,
		fails: map[string]string{"route": "paths", "native": "paths", "stream": "paths"}, skips: []string{"socket"},
	},
	{
		name: "rollcall is down", config: "location / { " + strings.Replace(forward, "ROLLCALL", "127.0.0.1:1", 1) + " }",
		fails: map[string]string{"function": "no-answer", "body": "no-answer", "hooks": "no-answer", "address": "no-answer", "route": "no-answer", "native": "no-answer", "stream": "no-answer"},
		skips: []string{"socket"},
	},
	{name: "an expired certificate", cert: "expired", config: "location / { " + forward + upgrade + " }", fails: map[string]string{"tls": "the-certificate"}, skips: afterTLS},
	{name: "a certificate of another name", cert: "other", config: "location / { " + forward + upgrade + " }", fails: map[string]string{"tls": "the-certificate"}, skips: afterTLS},
	{name: "a certificate of its own", cert: "own", config: "location / { " + forward + upgrade + " }", fails: map[string]string{"tls": "the-certificate"}, skips: afterTLS},
	{name: "a certificate that ends soon", cert: "soon", config: "location / { " + forward + upgrade + " }", fails: map[string]string{"tls": "the-certificate"}},
}

var caddies = []setup{
	{name: "right", config: "reverse_proxy ROLLCALL", hold: "2s"},
	{
		name: "no upgrade", config: "reverse_proxy ROLLCALL {\n header_up -Upgrade\n header_up -Connection\n }",
		fails: map[string]string{"socket": "upgrades", "native": "upgrades", "stream": "upgrades"},
	},
	{
		name: "the host of the server", config: "reverse_proxy ROLLCALL {\n header_up Host {upstream_hostport}\n header_up -X-Forwarded-Host\n }",
		fails: map[string]string{"route": "the-route"}, skips: []string{"socket"},
	},
	{
		name: "small bodies", config: "request_body {\n max_size 100KB\n }\n reverse_proxy ROLLCALL",
		fails: map[string]string{"body": "bodies"},
	},
	{name: "an expired certificate", cert: "expired", config: "reverse_proxy ROLLCALL", fails: map[string]string{"tls": "the-certificate"}, skips: afterTLS},
}

// Behind a real proxy that is wrong on purpose just that is found, with its cure.
func TestProxies(t *testing.T) {
	server := startRollcall(t, "ROLLCALL_PROXIES=127.0.0.1")
	certs := makeCertificates(t)
	for _, proxy := range []struct {
		name   string
		setups []setup
		start  func(t *testing.T, certs *certificates, setups []setup, ports []string)
	}{{"nginx", nginxes, startNginx}, {"caddy", caddies, startCaddy}} {
		setups := slices.Clone(proxy.setups)
		for i := range setups {
			setups[i].config = strings.ReplaceAll(setups[i].config, "ROLLCALL", server)
		}
		at := ports(t, len(setups))
		proxy.start(t, certs, setups, at)
		listens(t, at[0])
		t.Run(proxy.name, func(t *testing.T) {
			for i, s := range setups {
				t.Run(s.name, func(t *testing.T) {
					t.Parallel()
					hold := s.hold
					if hold == "" {
						hold = "0s"
						s.skips = append(slices.Clone(s.skips), "hold")
					}
					judge(t, &s, run(t, certs.ca, "https://localhost:"+at[i], "--hold", hold))
				})
			}
		})
	}
}

func judge(t *testing.T, s *setup, got map[string]check.Result) {
	for _, name := range check.Names() {
		r, want := got[name], check.OK
		cure := ""
		switch {
		case s.fails[name] != "":
			want, cure = check.Failed, "docs/check.md#"+s.fails[name]
		case slices.Contains(s.skips, name):
			want = check.Skipped
		}
		if r.Result != want || r.Cure != cure {
			t.Errorf("%s is %s %q %s, want %s %s", name, r.Result, r.Text, r.Cure, want, cure)
		}
	}
	if r := got["clean up"]; r.Result == check.Failed {
		t.Errorf("clean up: %s", r.Text)
	}
}

func startNginx(t *testing.T, certs *certificates, setups []setup, ports []string) {
	dir := t.TempDir()
	var sites strings.Builder
	for i, s := range setups {
		cert := certs.files[s.cert]
		fmt.Fprintf(&sites, "server { listen 127.0.0.1:%s ssl; ssl_certificate %s; ssl_certificate_key %s; %s }\n", ports[i], cert.cert, cert.key, s.config)
	}
	config := fmt.Sprintf(`daemon off; error_log stderr; pid %[1]s/pid; worker_processes 1; events {}
		http { access_log off; client_body_buffer_size 2m; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
		map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
		%[2]s }`, dir, sites.String())
	name := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(name, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("nginx")
	if err != nil {
		path = "/usr/sbin/nginx" // not in a user's PATH on Debian
	}
	start(t, exec.Command(path, "-p", dir, "-e", "stderr", "-c", name))
}

func startCaddy(t *testing.T, certs *certificates, setups []setup, ports []string) {
	dir := t.TempDir()
	config := "{\n\tadmin off\n\tauto_https off\n}\n"
	for i, s := range setups {
		cert := certs.files[s.cert]
		config += fmt.Sprintf("https://localhost:%s {\n\tbind 127.0.0.1\n\ttls %s %s\n\t%s\n}\n", ports[i], cert.cert, cert.key, s.config)
	}
	name := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(name, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("caddy", "run", "--config", name, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	start(t, cmd)
}

// Nothing in front: what is led to the server directly is right, a probe leaves nothing behind, and
// logins that have to be signed are signed.
func TestNoProxy(t *testing.T) {
	for _, settings := range [][]string{nil, {"ROLLCALL_RTM_SIGNATURES=true"}} {
		server := startRollcall(t, settings...)
		got := run(t, "", "http://"+server, "--hold", "100ms")
		for name, r := range got {
			if want := map[bool]string{true: check.Skipped, false: check.OK}[name == "tls"]; r.Result != want {
				t.Errorf("%v: %s is %s: %s", settings, name, r.Result, r.Text)
			}
		}
		if r := got["clean up"]; r.Text != "the probe is erased" {
			t.Errorf("clean up: %+v", r)
		}
		if got := run(t, "", "http://"+server, "--only", "function,clock"); !slices.Equal(slices.Sorted(maps.Keys(got)), []string{"clock", "connect", "function", "tls"}) {
			t.Errorf("two checks of all are %v", got)
		}
	}
}

// A server that terminates TLS itself needs nothing in front.
func TestTLSOfTheServerItself(t *testing.T) {
	certs := makeCertificates(t)
	port := ports(t, 1)[0]
	startRollcall(t, "ROLLCALL_LISTEN_TLS=127.0.0.1:"+port, "ROLLCALL_TLS_CERT="+certs.files[""].cert, "ROLLCALL_TLS_KEY="+certs.files[""].key)
	for name, r := range run(t, certs.ca, "https://localhost:"+port, "--hold", "100ms") {
		if r.Result != check.OK {
			t.Errorf("%s is %s: %s", name, r.Result, r.Text)
		}
	}
}
