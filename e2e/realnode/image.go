package realnode

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// suite and packages are what the node's image is made of.
const (
	suite    = "bookworm"
	packages = "containerd,runc,containernetworking-plugins,iptables,iproute2,ca-certificates"
)

// imageName is the image's name, by what it is made of.
func imageName() string {
	sum := sha256.Sum256([]byte(suite + " " + packages + " 1"))
	return fmt.Sprintf("deploy-model-action-node:%x", sum[:6])
}

// Image returns the name of the image that the node's container is made from.
// It is made from Debian's packages the first time, in less than a minute, and
// kept as an archive in the user's cache folder for engines that do not have it.
func Image(ctx context.Context, log io.Writer) (string, error) {
	name := imageName()
	if _, err := docker(ctx, nil, "image", "inspect", "--format", "{{.Id}}", name); err == nil {
		return name, nil
	}
	archive, err := imageArchive()
	if err != nil {
		return "", fmt.Errorf("node image: %w", err)
	}
	if _, err := os.Stat(archive); err != nil {
		fmt.Fprintf(log, "making the node's image from Debian's packages: a minute or less the first time, seconds later ...\n")
		if err := bootstrap(ctx, archive); err != nil {
			return "", fmt.Errorf("node image: %w", err)
		}
	}
	f, err := os.Open(archive)
	if err != nil {
		return "", fmt.Errorf("node image: %w", err)
	}
	defer f.Close()
	if _, err := docker(ctx, f, "import", "-", name); err != nil {
		return "", fmt.Errorf("node image: %w", err)
	}
	return name, nil
}

func imageArchive() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "deploy-model-action", strings.ReplaceAll(imageName(), ":", "-")+".tar"), nil
}

// bootstrap installs Debian into a folder and packs it.
func bootstrap(ctx context.Context, archive string) error {
	if os.Getuid() != 0 {
		return errors.New("debootstrap needs root; run the tests as root once")
	}
	if _, err := exec.LookPath("debootstrap"); err != nil {
		return fmt.Errorf("%w; install debootstrap", err)
	}
	if err := os.MkdirAll(filepath.Dir(archive), 0o755); err != nil {
		return err
	}
	root, err := os.MkdirTemp(filepath.Dir(archive), "node")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	start := time.Now()
	cmd := exec.CommandContext(ctx, "debootstrap", "--variant=minbase", "--include="+packages, suite, root)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("debootstrap after %s: %w: %s", time.Since(start).Round(time.Second), err, out[max(0, len(out)-1000):])
	}
	f, err := os.Create(archive + ".new")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := pack(f, root); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(archive+".new", archive)
}

// unused is what a node does not read, a third of what Debian installs.
var unused = map[string]bool{
	"dev": true, "proc": true, "sys": true, "var/cache/apt": true, "var/lib/apt/lists": true,
	"usr/share/doc": true, "usr/share/locale": true, "usr/share/man": true,
}

// pack writes a folder as an archive, with owners, modes and links.
func pack(w io.Writer, root string) error {
	t := tar.NewWriter(w)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if unused[name] {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		link := ""
		if info.Mode()&fs.ModeSymlink != 0 {
			if link, err = os.Readlink(path); err != nil {
				return err
			}
		}
		header, err := tar.FileInfoHeader(info, link)
		if err != nil {
			return err
		}
		header.Name, header.Uname, header.Gname = name, "", ""
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			header.Uid, header.Gid = int(stat.Uid), int(stat.Gid)
		}
		if err := t.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(t, f)
		return err
	})
	return errors.Join(err, t.Close())
}
