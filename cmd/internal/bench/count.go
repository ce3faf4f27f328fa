package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// counting are the modes whose streams Envoy can count: those of server-sent events that pass
// as the upstream wrote them.
var counting = []string{"mantle", "responses"}

// counted is the table of streams whose tokens Envoy counts (upstream.count_in_envoy) beside
// those that extproc meters, against plain Envoy: extproc has no part in their bodies.
func (b *bench) counted(ctx context.Context) error {
	wanted, err := b.wanted()
	if err != nil {
		return err
	}
	for _, m := range wanted {
		if !slices.Contains(counting, m.flag) {
			return fmt.Errorf("-count: mode %q is none that Envoy counts: want %s", m.flag, strings.Join(counting, ", "))
		}
	}
	return b.beside(ctx, wanted, namePlain, b.plain, b.noop, func(ctx context.Context) (*gateway, error) {
		return b.product(ctx, nameOurs, stock{keys: 10, models: 1})
	}, func(ctx context.Context) (*gateway, error) {
		return b.product(ctx, "counted by Envoy", stock{keys: 10, models: 1}, "AISIX_UPSTREAM__COUNT_IN_ENVOY=true")
	})
}
