package ratelimit

import (
	"testing"

	"aisix/admin/resource"
	"aisix/admin/store/redistest"
)

// A call of a key and a model with limits of every kind, admitted and settled.
func BenchmarkReserve(b *testing.B) {
	l := limiter(b, redistest.Start(b).Client(), Options{})
	all := resource.RateLimit{RPS: n(1 << 40), RPM: n(1 << 40), RPH: n(1 << 40), RPD: n(1 << 40), TPM: n(1 << 40), TPD: n(1 << 40), Concurrency: n(1 << 40)}
	for name, limit := range map[string]resource.RateLimit{"three": {RPM: n(1 << 40), TPM: n(1 << 40), Concurrency: n(1 << 40)}, "seven": all} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				reserve(b, l, 1000, Bucket{"apikey:a", limit}, Bucket{"model:m", limit}).Settle(2000)
			}
		})
	}
}
