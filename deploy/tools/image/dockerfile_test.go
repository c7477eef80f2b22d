package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// The image that docker builds is run as the one that we build.
func TestTheDockerfileMakesTheSameImage(t *testing.T) {
	f, err := os.Open("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	parsed, err := parser.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range parsed.Warnings {
		t.Errorf("warning: %s", w.Short)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	last := stages[len(stages)-1]
	if last.BaseName != "scratch" {
		t.Errorf("it stands on %s", last.BaseName)
	}
	img, err := (&release{Version: "$VERSION", Time: time.Unix(0, 0)}).image(&v1.Platform{OS: "linux", Architecture: "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want, seen := file.Config, 0
	for _, c := range last.Commands {
		same := true
		switch c := c.(type) {
		case *instructions.EntrypointCommand:
			same = slices.Equal(c.CmdLine, want.Entrypoint)
		case *instructions.CmdCommand:
			same = slices.Equal(c.CmdLine, want.Cmd)
		case *instructions.UserCommand:
			same = c.User == want.User
		case *instructions.WorkdirCommand:
			same = c.Path == want.WorkingDir
		case *instructions.StopSignalCommand:
			same = c.Signal == want.StopSignal
		case *instructions.EnvCommand:
			same = len(c.Env) == 1 && slices.Equal([]string{c.Env[0].String()}, want.Env)
		case *instructions.VolumeCommand:
			_, ok := want.Volumes[c.Volumes[0]]
			same = ok && len(c.Volumes) == len(want.Volumes)
		case *instructions.ExposeCommand:
			for _, p := range c.Ports {
				_, ok := want.ExposedPorts[p+"/tcp"]
				same = same && ok && len(c.Ports) == len(want.ExposedPorts)
			}
		case *instructions.HealthCheckCommand:
			h := want.Healthcheck
			same = slices.Equal(c.Health.Test, h.Test) && c.Health.Interval == h.Interval && c.Health.Timeout == h.Timeout &&
				c.Health.StartPeriod == h.StartPeriod && c.Health.Retries == h.Retries
		case *instructions.LabelCommand:
			for _, l := range c.Labels {
				have, ok := want.Labels[l.Key]
				same = same && (ok && have == strings.Trim(l.Value, `"`) || l.Key == "org.opencontainers.image.revision")
			}
		default:
			continue
		}
		seen++
		if !same {
			t.Errorf("%v differs from what image makes: %+v", c, want)
		}
	}
	if seen != 10 {
		t.Errorf("%d settings of the image are in the Dockerfile, want 10", seen)
	}
}
