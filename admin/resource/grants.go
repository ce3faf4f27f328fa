package resource

import (
	"path/filepath"
	"strings"

	"aisix/admin/strict"
)

// Grants are what of the host that extproc runs on provider keys may use: whoever may
// write one could otherwise act as the host. The zero value grants nothing.
type Grants struct {
	Ambient   bool     // what the host itself has
	TokenDirs []string // under which token files may lie
}

// Check says what c would need and is not granted, and what grants it.
func (g Grants) Check(c Credentials) *strict.Error {
	switch c := c.(type) {
	case Ambient:
		return g.ambient("type ambient is")
	case AssumeRole:
		if c.Source == (AccessKey{}) {
			return g.ambient(`source "ambient" in it is`)
		}
	case WebIdentity:
		if dir, _ := g.TokenDir(c.TokenFile); dir == "" {
			return strict.Errorf("", "token_file in it must lie under one of the folders that credentials.token_dirs of the configuration names")
		}
	}
	return nil
}

func (g Grants) ambient(what string) *strict.Error {
	if g.Ambient {
		return nil
	}
	return strict.Errorf("", "%s allowed only where the configuration has credentials.ambient: true", what)
}

// TokenDir is the granted folder that a file lies under, and the file's path in it; ""
// where there is none. It goes by the path alone.
func (g Grants) TokenDir(file string) (dir, in string) {
	for _, dir := range g.TokenDirs {
		in, err := filepath.Rel(filepath.Clean(dir), filepath.Clean(file))
		if err == nil && in != "." && in != ".." && !strings.HasPrefix(in, "../") {
			return dir, in
		}
	}
	return "", ""
}

// Granted says what r, that was written in place of old (nil: there was none), would need
// of the host and is not granted. A secret that stays is not asked for again.
func Granted(r, old Resource, g Grants) error {
	k, ok := r.(*ProviderKey)
	if !ok {
		return nil
	}
	if was, ok := old.(*ProviderKey); ok && was.Credentials == k.Credentials {
		return nil
	}
	if err := g.Check(k.Credentials); err != nil {
		return strict.Errorf("/secret", "%s", err.Message)
	}
	return nil
}
