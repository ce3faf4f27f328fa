package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// user is whom the images run as, as deploy/aisix.Dockerfile has it.
const user = 65532

// images writes an OCI layout for each command, of all platforms.
func (r *release) images(ctx context.Context) error {
	for _, command := range names() {
		index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
		for _, arch := range platforms {
			image, err := r.image(ctx, command, arch)
			if err != nil {
				return fmt.Errorf("%s for %s: %w", command, arch, err)
			}
			index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: platform(arch)}})
		}
		dir := filepath.Join(r.out, "images", command)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		path, err := layout.Write(dir, empty.Index)
		if err != nil {
			return err
		}
		if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{refName: r.version})); err != nil {
			return err
		}
	}
	return nil
}

// pushed sends the images that are there to a registry, as REPOSITORY/<name>:<version>, and prints them by their digests.
func (r *release) pushed(ctx context.Context, repository string) error {
	for _, command := range names() {
		top, err := layout.ImageIndexFromPath(filepath.Join(r.out, "images", command))
		if err != nil {
			return err
		}
		m, err := top.IndexManifest()
		if err != nil {
			return err
		}
		if len(m.Manifests) != 1 {
			return fmt.Errorf("the layout of %s has %d images, not one", command, len(m.Manifests))
		}
		index, err := top.ImageIndex(m.Manifests[0].Digest)
		if err != nil {
			return err
		}
		ref, err := name.ParseReference(repository + "/" + command + ":" + m.Manifests[0].Annotations[refName])
		if err != nil {
			return err
		}
		if err := remote.WriteIndex(ref, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
			return err
		}
		fmt.Printf("%s@%s\n", ref.Context(), m.Manifests[0].Digest)
	}
	return nil
}

// refName is the annotation with an image's tag.
const refName = "org.opencontainers.image.ref.name"

func platform(arch string) *v1.Platform { return &v1.Platform{OS: "linux", Architecture: arch} }

func (r *release) image(ctx context.Context, command, arch string) (v1.Image, error) {
	base, baseName, err := r.baseOf(ctx, arch)
	if err != nil {
		return nil, err
	}
	// What Docker's images have as well: a new volume takes over owner and mode of the folder where it is mounted.
	entries := []entry{
		{name: "keys/", mode: 0o700, owner: user}, {name: "spool/", mode: 0o700, owner: user},
		{name: "usr/", mode: 0o755}, {name: "usr/local/", mode: 0o755}, {name: "usr/local/bin/", mode: 0o755},
		{name: "usr/local/bin/" + command, from: filepath.Join(r.binaries(arch), command), mode: 0o755},
		{name: "licenses/", mode: 0o755},
	}
	for _, file := range r.licensed() {
		entries = append(entries, entry{name: "licenses/" + filepath.Base(file), from: file, mode: 0o644})
	}
	var b bytes.Buffer
	if err := pack(&b, r.date, entries); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image, err := mutate.Append(mutate.MediaType(base, types.OCIManifestSchema1), mutate.Addendum{Layer: layer, MediaType: types.OCILayer,
		History: v1.History{Author: "deploy/tools/release", CreatedBy: command + " " + r.version, Created: v1.Time{Time: r.date}}})
	if err != nil {
		return nil, err
	}
	image = mutate.ConfigMediaType(image, types.OCIConfigJSON)
	old, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	c := old.DeepCopy()
	c.OS, c.Architecture, c.Created = "linux", arch, v1.Time{Time: r.date}
	c.Config.User = fmt.Sprintf("%d:%d", user, user)
	c.Config.Entrypoint, c.Config.Cmd = []string{"/usr/local/bin/" + command}, nil
	if !hasPath(c.Config.Env) {
		c.Config.Env = append(c.Config.Env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	}
	if c.Config.Labels == nil {
		c.Config.Labels = map[string]string{}
	}
	for label, value := range map[string]string{"title": commands[command], "licenses": "Apache-2.0", "version": r.version, "revision": r.commit,
		"created": r.date.Format(time.RFC3339), "base.name": baseName} {
		c.Config.Labels["org.opencontainers.image."+label] = value
	}
	return mutate.ConfigFile(image, c)
}

func hasPath(env []string) bool {
	for _, e := range env {
		if strings.HasPrefix(e, "PATH=") {
			return true
		}
	}
	return false
}

// baseOf is the base image of a platform, and its name for the label: nothing, an OCI layout here, or
// one of a registry by its digest.
func (r *release) baseOf(ctx context.Context, arch string) (v1.Image, string, error) {
	if r.base == "" {
		return empty.Image, "scratch", nil
	}
	if _, err := os.Stat(filepath.Join(r.base, "oci-layout")); err == nil {
		index, err := layout.ImageIndexFromPath(r.base)
		if err != nil {
			return nil, "", err
		}
		images, err := imagesOf(index, arch)
		if err != nil {
			return nil, "", err
		}
		if len(images) != 1 {
			return nil, "", fmt.Errorf("the base %s has %d images for linux/%s, not one", r.base, len(images), arch)
		}
		digest, err := images[0].Digest()
		return images[0], digest.String(), err
	}
	ref, err := name.NewDigest(r.base)
	if err != nil {
		return nil, "", errors.Join(err, errors.New("a base is named by its digest, so that a release can be built again: name@sha256:…"))
	}
	image, err := remote.Image(ref, remote.WithContext(ctx), remote.WithPlatform(*platform(arch)), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	return image, ref.Name(), err
}

// imagesOf are an index's images of a platform; a layout's index has the image's own below it.
func imagesOf(index v1.ImageIndex, arch string) (all []v1.Image, err error) {
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, d := range m.Manifests {
		switch {
		case d.MediaType.IsIndex():
			below, err := index.ImageIndex(d.Digest)
			if err != nil {
				return nil, err
			}
			images, err := imagesOf(below, arch)
			if err != nil {
				return nil, err
			}
			all = append(all, images...)
		case d.MediaType.IsImage():
			image, err := index.Image(d.Digest)
			if err != nil {
				return nil, err
			}
			c, err := image.ConfigFile()
			if err != nil {
				return nil, err
			}
			if c.OS == "linux" && c.Architecture == arch {
				all = append(all, image)
			}
		}
	}
	return all, nil
}
