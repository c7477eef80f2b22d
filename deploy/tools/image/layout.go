package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// write puts the image into a file: the tar of an OCI image layout. With one platform it has a
// manifest.json too, for versions of docker load that read no such layout.
func (r *release) write(name string) error {
	index, err := r.index()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "image")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	named := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: index, Descriptor: v1.Descriptor{Annotations: map[string]string{
		"org.opencontainers.image.ref.name": r.Version, "io.containerd.image.name": "docker.io/library/" + r.name(),
	}}})
	if _, err := layout.Write(dir, named); err != nil {
		return fmt.Errorf("write an image layout: %w", err)
	}
	if len(r.Platforms) == 1 {
		if err := r.writeDockerManifest(dir, index); err != nil {
			return err
		}
	}
	files, err := read(dir)
	if err != nil {
		return err
	}
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(r.archive(out, files), out.Close())
}

func (r *release) name() string { return "rollcall:" + r.Version }

// writeDockerManifest writes the table of contents that docker save writes.
func (r *release) writeDockerManifest(dir string, index v1.ImageIndex) error {
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	img, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		return err
	}
	m, err := img.Manifest()
	if err != nil {
		return err
	}
	blob := func(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }
	contents := struct {
		Config   string
		RepoTags []string
		Layers   []string
	}{Config: blob(m.Config.Digest), RepoTags: []string{r.name()}}
	for _, l := range m.Layers {
		contents.Layers = append(contents.Layers, blob(l.Digest))
	}
	b, err := json.Marshal([]any{contents})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "manifest.json"), b, 0o600)
}

// read returns the files of dir in the order of their names.
func read(dir string) ([]entry, error) {
	var files []entry
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, p)
		files = append(files, entry{name: filepath.ToSlash(name), mode: 0o644, body: body})
		return err
	})
	slices.SortFunc(files, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return files, err
}
