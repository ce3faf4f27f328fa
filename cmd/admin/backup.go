package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"aisix/admin/backup"
	"aisix/admin/ledger"
	"aisix/admin/store"
	"aisix/cmd/internal/config"
)

// dash names standard output, or input, in place of a file.
const dash = "-"

// longTimeout is what one command may take in a backup or a restore: nobody waits behind it.
const longTimeout = 30 * time.Second

// stored opens what a backup is made of.
func stored(c *config.Config, log *slog.Logger) (*store.Store, *ledger.Ledger, *store.Sealer, func() error, error) {
	sealer, err := store.LoadSealer(c.Secrets.MasterKey.Reveal(), c.Secrets.MasterKeyFile, c.Secrets.PreviousMasterKeyFile)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	r := c.Redis
	r.Timeout = max(r.Timeout, longTimeout)
	client, err := r.Client(log)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	return store.New(client, sealer), ledger.New(client), sealer, client.Close, nil
}

// makeBackup writes resources and usage totals to a file, or to out.
func makeBackup(ctx context.Context, c *config.Config, path string, out io.Writer, log *slog.Logger) error {
	s, l, sealer, end, err := stored(c, log)
	if err != nil {
		return err
	}
	defer end()
	b, err := backup.Take(ctx, s, l, time.Now())
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	for _, err := range b.Rows.Unreadable {
		log.Warn("a resource can't be read, and is in the backup as it stands in Redis", "error", err)
	}
	var size int64
	if path == dash {
		err = b.Write(out, sealer)
	} else if size, err = b.Create(path, sealer); err == nil {
		log = log.With("file", path, "bytes", size)
	}
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	log.Info("backup made", "holds", b.Summary(), "master_key", sealer.KeyID())
	return nil
}

// restoreBackup puts what a file, or in, holds in force.
func restoreBackup(ctx context.Context, c *config.Config, path string, in io.Reader, overwrite bool, log *slog.Logger) error {
	s, l, sealer, end, err := stored(c, log)
	if err != nil {
		return err
	}
	defer end()
	if path != dash {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		defer f.Close()
		in = f
	}
	b, err := backup.Read(in, sealer)
	if err != nil {
		return fmt.Errorf("restore %s: %w", path, err)
	}
	r, err := b.Put(ctx, s, l, overwrite)
	if err != nil {
		return fmt.Errorf("restore %s: %w", path, err)
	}
	log.Info("backup restored", "holds", b.Summary(), "made", b.Made, "revision", r.Revision, "days_left_as_they_are", r.Kept)
	return nil
}
