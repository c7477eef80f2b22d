package main

import (
	"bytes"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// program builds rollcall, static as a release is, and returns its name.
func program(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "rollcall")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", name, "./cmd/rollcall")
	build.Dir = "../../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return name
}

func stand(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestEqualProgramsMakeEqualFiles(t *testing.T) {
	one, two := stand(t, "amd64"), stand(t, "arm64")
	r := release{Version: "1.2.3", Revision: "abc", Time: time.Unix(1764000000, 0).UTC(), Platforms: []string{"linux/amd64", "linux/arm64"}, Programs: []string{one, two}}
	first, again := filepath.Join(t.TempDir(), "a.tar"), filepath.Join(t.TempDir(), "b.tar")
	for _, name := range []string{first, again} {
		if err := r.write(name); err != nil {
			t.Fatal(err)
		}
	}
	a, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(again)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("the second file differs from the first")
	}
}

// A registry gets one name for both platforms, and each platform its own program.
func TestTheIndexHasBothPlatforms(t *testing.T) {
	r := release{
		Version: "1.2.3", Time: time.Unix(1764000000, 0).UTC(), Platforms: []string{"linux/amd64", "linux/arm64"},
		Programs: []string{stand(t, "for amd64"), stand(t, "for arm64")},
	}
	name := filepath.Join(t.TempDir(), "image.tar")
	if err := r.write(name); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-C", dir, "-xf", name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	outer, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	names, err := outer.IndexManifest()
	if err != nil || len(names.Manifests) != 1 || names.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != "1.2.3" {
		t.Fatalf("index.json: %+v, %v", names, err)
	}
	inner, err := outer.ImageIndex(names.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := inner.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, m := range manifest.Manifests {
		platforms = append(platforms, m.Platform.String())
		img, err := inner.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		root := t.TempDir()
		unpack(t, img, root)
		if b, err := os.ReadFile(filepath.Join(root, "rollcall")); err != nil || string(b) != "for "+m.Platform.Architecture {
			t.Errorf("the program of %s is %q, %v", m.Platform, b, err)
		}
		if file, err := img.ConfigFile(); err != nil || file.Architecture != m.Platform.Architecture {
			t.Errorf("the image of %s says it is for %s, %v", m.Platform, file.Architecture, err)
		}
	}
	if !slices.Equal(platforms, []string{"linux/amd64", "linux/arm64"}) {
		t.Errorf("platforms %v", platforms)
	}
	if _, err := os.Stat(filepath.Join(dir, "manifest.json")); err == nil {
		t.Error("a file of two platforms has a manifest.json, by which docker load would take the wrong one")
	}
}

func TestWhatIsNoReleaseIsRefused(t *testing.T) {
	out := filepath.Join(t.TempDir(), "image.tar")
	for _, r := range []release{
		{Platforms: []string{"linux"}, Programs: []string{stand(t, "x")}},
		{Platforms: []string{""}, Programs: []string{stand(t, "x")}},
		{Platforms: []string{"linux/amd64"}, Programs: []string{filepath.Join(t.TempDir(), "none")}},
	} {
		if err := r.write(out); err == nil {
			t.Errorf("%v: no error", r.Platforms)
		}
	}
}

// opened returns the image that docker load finds in name.
func opened(t *testing.T, name string) v1.Image {
	t.Helper()
	img, err := tarball.ImageFromPath(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// unpack writes the layers of img into root, as a container runtime does.
func unpack(t *testing.T, img v1.Image, root string) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range layers {
		content, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		untar := exec.Command("tar", "-C", root, "--numeric-owner", "-xpf", "-")
		untar.Stdin = content
		if out, err := untar.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

func TestTheCertificatesAreRoots(t *testing.T) {
	b, err := certificates()
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), "BEGIN CERTIFICATE"); !x509.NewCertPool().AppendCertsFromPEM(b) || n < 50 {
		t.Errorf("%d certificates", n)
	}
}
