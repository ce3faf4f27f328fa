package store

import (
	"context"
	_ "embed"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"aisix/admin/resource"
)

//go:embed confirm.lua
var confirmSource string

var confirmScript = redis.NewScript(wholeSource + confirmSource)

// Confirm puts what Redis holds now in force, in place of the store of that epoch,
// which was lost, and makes it whole: what indexes name without a row is dropped, and a
// row that they do not name is entered in them. Every process that knows it takes the other from then on. Errors:
// ErrNothingLost, or the *LostError of what is lost if that has another epoch.
func (s *Store) Confirm(ctx context.Context, by Actor, epoch string) (revision int64, err error) {
	if err := s.useMasterKey(ctx); err != nil {
		return 0, err
	}
	canary, err := s.sealer.seal(canaryKey(), []byte(canaryText))
	if err != nil {
		return 0, err
	}
	known, claim := s.known.Load(), head{}
	if known != nil {
		claim = *known
	}
	next := uuid.NewString()
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	keys := append([]string{revisionKey(), epochKey(), canaryKey(), witnessesKey(), replacedKey(), logKey(), usesKey()}, kindKeys()...)
	args := []any{epoch, next, s.now().UTC().Format(time.RFC3339), canary.text(), channel(), claim.epoch, claim.revision, noEpoch}
	for _, row := range resource.Table {
		args = append(args, row.Named)
	}
	answer, err := confirmScript.Run(bounded, s.redis, keys, args...).Slice()
	if err != nil {
		return 0, unavailable("confirm", err)
	}
	switch answer[0] {
	case "ok":
		revision = answer[1].(int64)
		s.log.Warn("an operator confirmed what the store holds now", "by", by, "replaces", epoch, "epoch", next, "revision", revision)
		s.remember(known, head{next, revision})
		s.alarm.end(s.log.Info)
		return revision, nil
	case "kept":
		return 0, ErrNothingLost
	default:
		if _, err := s.look(ctx, "confirm", nil); err != nil {
			return 0, err
		}
		return 0, ErrNothingLost // its data came back meanwhile
	}
}
