package admin

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// hosts are the names by which requests may call this API. A page from elsewhere can
// let its own name lead to this machine (DNS rebinding), and is then, to its browser,
// one of this API's own: the Host and the Origin that it sends tell it apart.
type hosts struct {
	any   bool
	names map[string]bool // as hostOf gives them
}

// newHosts knows loopback, the host of address and those that are allowed. An
// address of all interfaces is no name: there the one that a connection came in by
// counts.
func newHosts(address string, allowed []string) hosts {
	h := hosts{names: map[string]bool{"localhost": true}}
	for _, authority := range append([]string{address}, allowed...) {
		if name, ok := hostOf(authority); ok {
			ip, err := netip.ParseAddr(name)
			h.names[name] = err != nil || !ip.IsUnspecified()
		}
		h.any = h.any || authority == "*"
	}
	return h
}

// check refuses a request in the name of a stranger.
func (h hosts) check(r *http.Request) error {
	if h.any {
		return nil
	}
	if name, ok := hostOf(r.Host); !ok || !h.knows(r, name) {
		return strangeHost
	}
	origins := r.Header.Values("Origin")
	for _, origin := range origins {
		if name, ok := originHost(origin); !ok || !h.knows(r, name) {
			return strangeOrigin
		}
	}
	// Browsers send no Origin with some requests, but say that another site's page made
	// them. Following a link is no harm.
	navigates := r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate"
	if len(origins) == 0 && r.Header.Get("Sec-Fetch-Site") == "cross-site" && !navigates {
		return strangeOrigin
	}
	return nil
}

var (
	strangeHost = &problem{status: http.StatusForbidden, Code: "host_not_allowed",
		Message: "the request's Host is not one of this API's hosts: use localhost or the host of admin.address, or add the host to admin.allowed_hosts"}
	strangeOrigin = &problem{status: http.StatusForbidden, Code: "origin_not_allowed",
		Message: "requests from other origins are not allowed: add the origin's host to admin.allowed_hosts if it is yours"}
)

func (h hosts) knows(r *http.Request, name string) bool {
	if h.names[name] || isLoopback(name) {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && name == local.AddrPort().Addr().Unmap().WithZone("").String()
}

func isLoopback(name string) bool {
	ip, err := netip.ParseAddr(name)
	return name == "localhost" || err == nil && ip.IsLoopback()
}

// hostOf is the host of "host:port", where the port may be absent: a name in lower
// case and without the trailing dot, or an address in its one spelling.
func hostOf(authority string) (name string, ok bool) {
	host := authority
	if h, port, err := net.SplitHostPort(authority); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil && port != "" {
			return "", false
		}
		host = h
	} else if inner, bracketed := strings.CutPrefix(authority, "["); bracketed {
		host = strings.TrimSuffix(inner, "]")
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().WithZone("").String(), true
	}
	name = strings.ToLower(strings.TrimSuffix(host, "."))
	return name, name != ""
}

// originHost is the host of an Origin; "null", which a browser sends for a page that
// has none to name, has no host.
func originHost(origin string) (name string, ok bool) {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Path != "" {
		return "", false
	}
	return hostOf(u.Host)
}

// fromHere reports whether a request is for this machine by name and nothing shows
// that it is somebody else's: no proxy passed it on, no public address sent it. In a
// container the peer is the container network's own, so more can't be asked of it.
func fromHere(r *http.Request) bool {
	name, ok := hostOf(r.Host)
	if !ok || !isLoopback(name) {
		return false
	}
	for _, header := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip"} {
		if r.Header.Get(header) != "" {
			return false
		}
	}
	ip := peer(r)
	return !ip.IsGlobalUnicast() || ip.IsPrivate()
}

// peer is the address that a request came from, its proxy's if it has one; invalid
// where there is none.
func peer(r *http.Request) netip.Addr {
	from, _ := netip.ParseAddrPort(r.RemoteAddr)
	return from.Addr().Unmap().WithZone("")
}
