package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The files that deploy/compose mounts are taken by the programs that read them.
func TestWhatTheComposeFilesMount(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"compose/prometheus.yml", "prometheus/rules.yml"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("promtool", "check", "config", filepath.Join(dir, "prometheus.yml")).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
	caddy := exec.Command("caddy", "adapt", "--validate", "--adapter", "caddyfile", "--config", "compose/Caddyfile")
	caddy.Env = append(os.Environ(), "DOMAIN=im.example.com", "NODES=rollcall-1:3000 rollcall-2:3000", "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	out, err := caddy.CombinedOutput()
	if err != nil {
		t.Fatalf("caddy: %v\n%s", err, out)
	}
	for _, want := range []string{`"im.example.com"`, `"dial":"rollcall-1:3000"`, `"dial":"rollcall-2:3000"`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("caddy makes of the file\n%s\nwithout %s", out, want)
		}
	}
}
