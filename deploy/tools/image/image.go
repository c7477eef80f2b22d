package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// user is who the program runs as, and who owns its data.
const user = 65532

// A release is what one image is made of.
type release struct {
	Version, Revision string
	Time              time.Time
	Platforms         []string // os/arch
	Programs          []string // static binaries, one for each platform
}

// index returns the image of every platform in one index.
func (r *release) index() (v1.ImageIndex, error) {
	ground, err := r.ground()
	if err != nil {
		return nil, err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for i, platform := range r.Platforms {
		p, err := v1.ParsePlatform(platform)
		if err != nil || p.OS == "" || p.Architecture == "" {
			return nil, fmt.Errorf("%q: want OS/ARCH", platform)
		}
		program, err := os.ReadFile(r.Programs[i])
		if err != nil {
			return nil, err
		}
		layer, err := r.layer(entry{name: "rollcall", mode: 0o755, body: program})
		if err != nil {
			return nil, err
		}
		img, err := r.image(p, ground, layer)
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: p}})
	}
	annotated, ok := mutate.Annotations(index, r.labels()).(v1.ImageIndex)
	if !ok {
		return nil, fmt.Errorf("annotations of an index give no index")
	}
	return annotated, nil
}

// ground is the layer below the program: what a process expects of a system, and the place of its
// data.
func (r *release) ground() (v1.Layer, error) {
	roots, err := certificates()
	if err != nil {
		return nil, err
	}
	return r.layer(
		entry{name: "data/", mode: 0o700, owner: user},
		entry{name: "etc/", mode: 0o755},
		entry{name: "etc/group", mode: 0o644, body: fmt.Appendf(nil, "root:x:0:\nrollcall:x:%d:\n", user)},
		entry{name: "etc/passwd", mode: 0o644, body: fmt.Appendf(nil, "root:x:0:0:root:/:/sbin/nologin\nrollcall:x:%d:%d:rollcall:/data:/sbin/nologin\n", user, user)},
		entry{name: "etc/ssl/", mode: 0o755},
		entry{name: "etc/ssl/certs/", mode: 0o755},
		entry{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, body: roots},
	)
}

// image returns the image of one platform.
func (r *release) image(p *v1.Platform, layers ...v1.Layer) (v1.Image, error) {
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	for i, layer := range layers {
		by := []string{"certificates, user, /data", "rollcall " + r.Version}[i]
		var err error
		img, err = mutate.Append(img, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: r.Time}, CreatedBy: by}})
		if err != nil {
			return nil, err
		}
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Variant, file.Created = p.OS, p.Architecture, p.Variant, v1.Time{Time: r.Time}
	file.Config = v1.Config{
		Entrypoint:   []string{"/rollcall"},
		Cmd:          []string{"serve"},
		Env:          []string{"ROLLCALL_DATA=/data"},
		ExposedPorts: map[string]struct{}{"3000/tcp": {}, "3001/tcp": {}},
		Volumes:      map[string]struct{}{"/data": {}},
		User:         fmt.Sprintf("%d:%d", user, user),
		WorkingDir:   "/data",
		StopSignal:   "SIGTERM",
		Labels:       r.labels(),
		Healthcheck: &v1.HealthConfig{
			Test:     []string{"CMD", "/rollcall", "status", "--check"},
			Interval: 10 * time.Second, Timeout: 5 * time.Second, StartPeriod: 30 * time.Second, Retries: 3,
		},
	}
	return mutate.ConfigFile(img, file)
}

// labels are those that image-spec names.
func (r *release) labels() map[string]string {
	labels := map[string]string{
		"org.opencontainers.image.title":       "rollcall",
		"org.opencontainers.image.description": "presence server for instant messaging",
		"org.opencontainers.image.version":     r.Version,
		"org.opencontainers.image.created":     r.Time.Format(time.RFC3339),
	}
	if r.Revision != "" {
		labels["org.opencontainers.image.revision"] = r.Revision
	}
	return labels
}

// An entry is a file of a layer, or a directory when its name ends in a slash.
type entry struct {
	name  string
	mode  int64
	owner int
	body  []byte
}

// layer returns entries as a layer.
func (r *release) layer(entries ...entry) (v1.Layer, error) {
	var out bytes.Buffer
	if err := r.archive(&out, entries); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(out.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.BestCompression), tarball.WithCompressedCaching,
	)
}

// archive writes entries as a tar. Equal entries give equal bytes.
func (r *release) archive(to io.Writer, entries []entry) error {
	w := tar.NewWriter(to)
	for _, e := range entries {
		h := &tar.Header{
			Typeflag: tar.TypeReg, Name: e.name, Mode: e.mode, Size: int64(len(e.body)), ModTime: r.Time,
			Uid: e.owner, Gid: e.owner, Format: tar.FormatUSTAR,
		}
		if strings.HasSuffix(e.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		if _, err := w.Write(e.body); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	return w.Close()
}
