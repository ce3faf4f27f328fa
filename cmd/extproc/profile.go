package main

import (
	"net/http"
	"net/http/pprof"
)

// profilePath is where the CPU profile is, as net/http/pprof has it.
const profilePath = "/debug/pprof/profile"

// profiled serves the process's CPU profile beside what next serves: what `make pgo`
// reads. A CPU profile names functions, never what they worked on; of pprof's others
// none is served.
func profiled(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == profilePath && r.Method == http.MethodGet {
			pprof.Profile(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
