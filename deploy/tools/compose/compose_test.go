// Package compose_test holds deploy/compose to the compose specification and to what is there.
package compose_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

const folder = "../../compose"

// given is what starting the files takes.
var given = []string{
	"DOMAIN=im.example.com", "GRAFANA_PASSWORD=p", "LEANCLOUD_APP_ID=anAppOfTheTests000001", "LEANCLOUD_APP_KEY=anAppKeyOfTheTests0001",
	"LEANCLOUD_APP_MASTER_KEY=aMasterKeyOfTheTests01", "LEANCLOUD_APP_HOOK_KEY=aHookKeyOfTheTests0001",
}

func load(t *testing.T, file string, env []string) (*types.Project, error) {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(folder, file)}, cli.WithEnv(env), cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	return options.LoadProject(t.Context())
}

func TestComposeFiles(t *testing.T) {
	config, err := os.ReadFile("../../../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	version, err := os.ReadFile("../../VERSION")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil || len(files) != 3 {
		t.Fatalf("%q, %v", files, err)
	}
	pinned := regexp.MustCompile(`:v?\d+\.\d+(\.\d+)?(-alpine)?$`)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			p, err := load(t, filepath.Base(file), given)
			if err != nil {
				t.Fatal(err)
			}
			nodes := 0
			for _, s := range p.Services {
				if !pinned.MatchString(s.Image) {
					t.Errorf("%s: the image %s has no version", s.Name, s.Image)
				}
				for _, v := range s.Volumes {
					if v.Type == types.VolumeTypeBind {
						if _, err := os.Stat(v.Source); err != nil {
							t.Errorf("%s: %v", s.Name, err)
						}
					}
				}
				if !strings.HasPrefix(s.Image, "rollcall:") {
					continue
				}
				nodes++
				if s.Image != "rollcall:"+strings.TrimSpace(string(version)) || !s.ReadOnly {
					t.Errorf("%s: %s, read-only %v", s.Name, s.Image, s.ReadOnly)
				}
				for name := range s.Environment {
					if !strings.Contains(string(config), "`"+name+"`") {
						t.Errorf("%s: there is no setting %s", s.Name, name)
					}
				}
			}
			if nodes == 0 {
				t.Error("no rollcall runs")
			}
		})
	}
}

// What the nodes cannot start without is asked for by name.
func TestComposeFilesAskForWhatIsMissing(t *testing.T) {
	for file, missing := range map[string]string{"https.yaml": "DOMAIN", "valkey.yaml": "LEANCLOUD_APP_ID", "monitoring.yaml": "GRAFANA_PASSWORD"} {
		var env []string
		for _, e := range given {
			if !strings.HasPrefix(e, missing+"=") {
				env = append(env, e)
			}
		}
		if _, err := load(t, file, env); err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("%s without %s: %v", file, missing, err)
		}
	}
}
