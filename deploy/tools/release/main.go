// Command release makes what a release consists of: for each platform the binaries and an archive of
// them, SBOMs, the licences of what is linked in, images as OCI layouts, and the checksums of it all.
//
// The same commit gives the same bytes, wherever and whenever it is built: paths and times are the
// commit's. No container engine is needed. `make release` runs it; the release workflow does, and pushes the
// images with -push. It is a module of its own, so that what it needs is no dependency of
// the product.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// commands are what is released, each with a title for its image.
var commands = map[string]string{
	"admin":      "AISIX AI Gateway: the Admin API",
	"extproc":    "AISIX AI Gateway: extproc, the data plane",
	"bedrocksim": "AISIX AI Gateway: Bedrock simulator",
}

var platforms = []string{"amd64", "arm64"}

// release is one, in the making.
type release struct {
	root, out       string // the repository, and the folder of what is made
	version, commit string
	date            time.Time // of the commit
	pgo             string
	base            string // of the images
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	r := &release{}
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.StringVar(&r.root, "root", ".", "the repository")
	flags.StringVar(&r.out, "out", ".dist", "where to put what is made; what is there goes")
	flags.StringVar(&r.version, "version", "", "v1.2.3; without it the commit's tag, or dev")
	flags.StringVar(&r.pgo, "pgo", "auto", "go build's -pgo")
	flags.StringVar(&r.base, "base", "", "base of the images: an OCI layout's folder, or a reference by digest; empty: from scratch, without CAs or a shell")
	push := flags.String("push", "", "build nothing: push the images that -out has to `REPOSITORY`/<name>:<version>")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	for _, path := range []*string{&r.root, &r.out} {
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = absolute
	}
	if *push != "" {
		return r.pushed(ctx, *push)
	}
	if err := r.identify(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{{"binaries", r.build}, {"licences", r.licences}, {"SBOMs", r.sboms}, {"archives", r.archives}, {"images", r.images}, {"checksums", r.checksums}} {
		fmt.Fprintln(os.Stderr, "release:", step.name)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	fmt.Println(r.version, r.commit, r.out)
	return nil
}

// identify finds out what is released.
func (r *release) identify(ctx context.Context) (err error) {
	if r.commit, err = r.git(ctx, "rev-parse", "HEAD"); err != nil {
		return err
	}
	date, err := r.git(ctx, "log", "-1", "--format=%cI")
	if err != nil {
		return err
	}
	if r.date, err = time.Parse(time.RFC3339, date); err != nil {
		return err
	}
	r.date = r.date.UTC()
	if changed, err := r.git(ctx, "status", "--porcelain"); err != nil || changed != "" {
		if r.version != "" || err != nil {
			return errors.Join(err, errors.New("there are changes that are not committed: what is released must be what the commit says"))
		}
		r.commit += "+modified"
	}
	if r.version == "" {
		if r.version, err = r.git(ctx, "describe", "--tags", "--exact-match"); err != nil {
			r.version, err = "dev", nil
		}
	}
	return err
}

func (r *release) git(ctx context.Context, args ...string) (string, error) {
	return r.say(ctx, r.root, nil, "git", args...)
}

// say runs a command, and gives what it says.
func (r *release) say(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, exit.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

// names are the commands in a fixed order.
func names() []string {
	var all []string
	for name := range commands {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// build makes the binaries: .dist/linux-<arch>/<name>.
func (r *release) build(ctx context.Context) error {
	const stamp = "aisix/cmd/internal/version"
	ld := fmt.Sprintf("-s -w -buildid= -X %s.Version=%s -X %s.Commit=%s -X %s.Date=%s", stamp, r.version, stamp, r.commit, stamp, r.date.Format(time.RFC3339))
	for _, arch := range platforms {
		dir := r.binaries(arch)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		args := []string{"build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-pgo=" + r.pgo, "-ldflags", ld, "-o", dir + string(filepath.Separator)}
		for _, name := range names() {
			args = append(args, "./cmd/"+name)
		}
		// GOAMD64 and GOARM64 too: what this machine has set must not show in the bytes.
		env := []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS="}
		if _, err := r.say(ctx, r.root, env, "go", args...); err != nil {
			return err
		}
	}
	return nil
}

func (r *release) binaries(arch string) string { return filepath.Join(r.out, "linux-"+arch) }

// sboms are CycloneDX, of what Go has noted in each binary.
func (r *release) sboms(ctx context.Context) error {
	here := filepath.Join(r.root, "deploy/tools/release")
	path, err := r.say(ctx, here, nil, "go", "tool", "-n", "cyclonedx-gomod")
	if err != nil {
		return err
	}
	for _, arch := range platforms {
		for _, name := range names() {
			out := filepath.Join(r.out, fmt.Sprintf("%s-linux-%s.cdx.json", name, arch))
			if _, err := r.say(ctx, r.root, nil, path, "bin", "-json", "-licenses", "-std", "-noserial", "-version", r.version, "-output", out, filepath.Join(r.binaries(arch), name)); err != nil {
				return err
			}
			if err := r.settle(out); err != nil {
				return err
			}
		}
	}
	return nil
}

// licensed are the files that go with every binary.
func (r *release) licensed() []string {
	return []string{filepath.Join(r.root, "LICENSE"), filepath.Join(r.out, "THIRD_PARTY_LICENSES")}
}

// made are all files of the release, by their names in it.
func (r *release) made() (all []string, err error) {
	err = filepath.WalkDir(r.out, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(r.out, path)
		all = append(all, name)
		return err
	})
	slices.Sort(all)
	return all, err
}
