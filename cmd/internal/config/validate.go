package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// problems is everything that is wrong with the values, one sentence each, by key. Values are not
// repeated in them.
func (c *Config) problems() []string {
	var found []string
	check := func(key string, err error) {
		if err != nil {
			found = append(found, key+": "+err.Error())
		}
	}
	check("proxy.address", hostPort(c.Proxy.Address))
	check("proxy.tls_cert_file", pair(c.Proxy.TLSCertFile, c.Proxy.TLSKeyFile, "proxy.tls_key_file"))
	check("proxy.max_body_bytes", within(c.Proxy.MaxBodyBytes, 1<<10, 1<<30))
	check("proxy.min_body_rate", within(c.Proxy.MinBodyRate, 0, 1<<30))
	check("proxy.max_connections", within(c.Proxy.MaxConnections, 1, 1<<30))
	check("proxy.max_connections_per_address", c.Proxy.perAddress())
	check("proxy.max_memory_bytes", within(c.Proxy.MaxMemoryBytes, 64<<20, 1<<40))
	check("proxy.workers", within(c.Proxy.Workers, 0, 1024))
	check("proxy.trusted_hops", within(c.Proxy.TrustedHops, 0, 32))
	if c.Proxy.EnvoyAdmin != "" {
		check("proxy.envoy_admin", unixSocket(c.Proxy.EnvoyAdmin))
	}
	if c.Proxy.StatsAddress != "" {
		check("proxy.stats_address", hostPort(c.Proxy.StatsAddress))
	}
	check("proxy.cors.allow_origins", origins(c.Proxy.CORS.AllowOrigins))
	check("proxy.extproc_ca_file", together(
		named{"proxy.extproc_ca_file", c.Proxy.ExtprocCAFile}, named{"proxy.extproc_cert_file", c.Proxy.ExtprocCertFile}, named{"proxy.extproc_key_file", c.Proxy.ExtprocKeyFile}))

	check("extproc.tls_cert_file", pair(c.Extproc.TLSCertFile, c.Extproc.TLSKeyFile, "extproc.tls_key_file"))
	check("extproc.address", c.Extproc.address())
	check("extproc.addresses", c.reached())
	check("extproc.lame_duck", unsetOrDuration(c.Extproc.LameDuck, time.Millisecond, time.Hour))

	check("egress.address", c.Egress.address())

	check("extproc.max_calls", unsetOr(c.Extproc.MaxCalls, 2, 1<<20))
	check("extproc.max_calls_per_key", unsetOr(c.Extproc.MaxCallsPerKey, 1, 1<<20))
	// A key gets half at most, and a body stands twice in it for a moment.
	check("extproc.max_delay", unsetOrDuration(c.Extproc.MaxDelay, time.Millisecond, time.Minute))
	check("extproc.max_buffered_bytes", unsetOr(c.Extproc.MaxBufferedBytes, 4*c.Proxy.MaxBodyBytes, 1<<50))

	check("admin.address", hostPort(c.Admin.Address))
	check("admin.tls_cert_file", pair(c.Admin.TLSCertFile, c.Admin.TLSKeyFile, "admin.tls_key_file"))
	if c.Admin.KeyFile == "" || c.Admin.Key != SampleAdminKey { // the file's takes the place of the sample
		check("admin.key", c.Admin.key())
	}
	if c.Admin.KeyFile != "" && c.Admin.Key != "" && c.Admin.Key != SampleAdminKey {
		check("admin.key", errors.New("set either this or admin.key_file"))
	}
	check("admin.allowed_hosts", hosts(c.Admin.AllowedHosts))

	check("redis.url", redisURL(c.Redis.URL))
	check("redis.cert_file", pair(c.Redis.CertFile, c.Redis.KeyFile, "redis.key_file"))
	check("redis.timeout", positive(c.Redis.Timeout))
	if c.Redis.PasswordFile != "" && c.Redis.Password != "" {
		check("redis.password", errors.New("set either this or redis.password_file"))
	}
	if c.Redis.URLFile != "" && c.Redis.URL != Default().Redis.URL {
		check("redis.url", errors.New("set either this or redis.url_file"))
	}
	if c.Redis.URLFile == "" && !strings.HasPrefix(c.Redis.URL, "rediss://") && (c.Redis.CAFile != "" || c.Redis.CertFile != "") {
		check("redis.ca_file", errors.New("has no effect without TLS: redis.url must be rediss://"))
	}

	if c.Secrets.MasterKey != "" && c.Secrets.MasterKeyFile != "" {
		check("secrets.master_key", errors.New("set either this or secrets.master_key_file"))
	}
	check("limits.on_redis_failure", oneOf(c.Limits.OnRedisFailure, "local", "open", "closed"))

	check("images.max_bytes", within(c.Images.MaxBytes, 1<<10, 1<<30))
	check("images.max_total_bytes", within(c.Images.MaxTotalBytes, 1<<10, 1<<30))
	check("images.timeout", positive(c.Images.Timeout))

	check("timeouts.first_byte", positive(c.Timeouts.FirstByte))
	check("timeouts.idle", positive(c.Timeouts.Idle))
	check("timeouts.request", positive(c.Timeouts.Request))
	check("timeouts.body", positive(c.Timeouts.Body))
	check("timeouts.connect", positive(c.Timeouts.Connect))
	check("timeouts.call", positive(c.Timeouts.Call))
	check("timeouts.stream_gap", positive(c.Timeouts.StreamGap))
	check("timeouts.keep_alive", positive(c.Timeouts.KeepAlive))
	check("timeouts.drain", positive(c.Timeouts.Drain))

	check("credentials.token_dirs", folders(c.Credentials.TokenDirs))
	check("credentials.sts_endpoint", origin(c.Credentials.STSEndpoint))

	check("logging.level", oneOf(c.Logging.Level, "debug", "info", "warn", "error"))
	if c.Metrics.Address != "" {
		check("metrics.address", hostPort(c.Metrics.Address))
	}
	if c.Metrics.Profiling && !loopback(c.Metrics.Address) {
		check("metrics.profiling", errors.New("is for this machine only: metrics.address must be loopback"))
	}
	return found
}

func (p Proxy) perAddress() error {
	if err := within(p.MaxPerAddress, 0, 1<<30); err != nil {
		return err
	}
	if p.MaxPerAddress > 0 && p.TrustedHops > 0 {
		return errors.New("counts the connections of whoever connects: with proxy.trusted_hops that is a proxy of yours, so set one of the two")
	}
	return nil
}

func (e Extproc) address() error {
	if strings.HasPrefix(e.Address, "unix:") {
		return unixSocket(e.Address)
	}
	if err := hostPort(e.Address); err != nil {
		return errors.New("must be host:port or unix:/path")
	}
	if !loopback(e.Address) && (e.TLSCertFile == "" || e.ClientCAFile == "") {
		return errors.New("is not loopback: whoever reaches it can pose as Envoy, so set extproc.tls_cert_file, extproc.tls_key_file and extproc.client_ca_file")
	}
	return nil
}

// reached says what is wrong with the addresses by which Envoy reaches the extprocs.
func (c *Config) reached() error {
	for i, address := range c.Extproc.Addresses {
		isSocket := strings.HasPrefix(address, "unix:")
		switch {
		case isSocket && unixSocket(address) != nil, !isSocket && hostPort(address) != nil:
			return errors.New("must be a list of host:port and unix:/path")
		case slices.Contains(c.Extproc.Addresses[:i], address):
			return errors.New("names an address twice")
		case !isSocket && !loopback(address) && c.Proxy.ExtprocCAFile == "":
			return errors.New("holds one that is not loopback: whoever sits there in place of extproc reads every request, so set proxy.extproc_ca_file, proxy.extproc_cert_file and proxy.extproc_key_file")
		}
	}
	return nil
}

// minAdminKey is how many characters an admin key has at least: 16 random ones of base64 are 96 bits.
const minAdminKey = 16

// key says what is wrong with the admin key. None is admin's to refuse: extproc needs none.
func (a Admin) key() error {
	key := a.Key.Reveal()
	switch {
	case key == "":
		return nil
	case key == SampleAdminKey:
		if !loopback(a.Address) && !a.AllowSampleKey {
			return errors.New("is the sample key, and admin.address is not loopback: choose a key of your own (or set admin.allow_sample_key)")
		}
		return nil
	case utf8.RuneCountInString(key) < minAdminKey:
		return fmt.Errorf("must have at least %d characters: make one with `openssl rand -base64 32`", minAdminKey)
	case strings.TrimSpace(key) != key, strings.ContainsFunc(key, unicode.IsControl):
		return errors.New("must not begin or end with a space or hold control characters: no header could carry it")
	}
	return nil
}

// hosts says what is wrong with a list of hosts as the Admin API compares them.
func hosts(list []string) error {
	for _, host := range list {
		if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil && host != "*" && !hostName.MatchString(host) {
			return errors.New("must be host names or IP addresses, without scheme, port or path, or * for any")
		}
	}
	return nil
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?$`)

// origins says what is wrong with a list of origins as browsers name them: an origin that no
// browser would send is a mistake, and would allow nobody.
func origins(list []string) error {
	for _, o := range list {
		scheme, rest, found := strings.Cut(o, "://")
		switch {
		case o == "*":
		case o == "null":
			return errors.New("must not hold null, which is the origin of any file and of any frame in a sandbox: say * for everybody")
		case !found || !originScheme.MatchString(scheme):
			return errors.New("must be origins with their scheme, such as https://app.example.com, or * for any")
		case strings.ContainsAny(rest, "/?#@"):
			return errors.New("must be origins: scheme, host and port, without a slash at the end, a path or a user")
		case rest != strings.ToLower(rest):
			return errors.New("must be in lower case, as browsers send origins")
		case scheme == "https" && strings.HasSuffix(rest, ":443") || scheme == "http" && strings.HasSuffix(rest, ":80"):
			return errors.New("must leave out the scheme's own port (80, 443), as browsers do")
		case !originHost.MatchString(rest):
			return errors.New("must be host names or IP addresses behind the scheme; * stands alone, for the labels before a domain (https://*.example.com) or for the port (http://localhost:*)")
		}
	}
	return nil
}

var (
	originScheme = regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`)
	originHost   = regexp.MustCompile(`^((\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:([0-9]{1,5}|\*))?$`)
)

func hostPort(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return errors.New("must be host:port")
	}
	return nil
}

// loopback reports whether only this machine reaches an address of host:port.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func unixSocket(address string) error {
	if path, ok := strings.CutPrefix(address, "unix:"); !ok || !strings.HasPrefix(path, "/") || len(path) > 107 {
		return errors.New("must be unix:/path, with an absolute path of at most 107 bytes")
	}
	return nil
}

func redisURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || !slices.Contains([]string{"redis", "rediss", "unix"}, u.Scheme) {
		return errors.New("must be redis://host:port/db, rediss://host:port/db or unix:///path")
	}
	return nil
}

// folders says what is wrong with a list of folders under which others may name files.
func folders(list []string) error {
	for _, dir := range list {
		if !path.IsAbs(dir) || path.Clean(dir) == "/" {
			return errors.New("must be absolute paths of folders, and not the root")
		}
	}
	return nil
}

// origin says what is wrong with an endpoint that is only scheme, host and port.
func origin(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case raw == "":
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.User != nil, strings.Trim(u.Path, "/") != "", u.RawQuery != "", u.Fragment != "":
		return errors.New("must be an http or https origin, such as https://vpce-1.sts.us-west-2.vpce.amazonaws.com")
	}
	return nil
}

func pair(cert, key, keyName string) error {
	if (cert == "") != (key == "") {
		return fmt.Errorf("goes together with %s: set both or neither", keyName)
	}
	return nil
}

// named is a value with its key.
type named struct{ key, value string }

// together says so where some of them are set and others are not.
func together(all ...named) error {
	var set, missing []string
	for _, n := range all {
		if n.value != "" {
			set = append(set, n.key)
		} else {
			missing = append(missing, n.key)
		}
	}
	if len(set) > 0 && len(missing) > 0 {
		return fmt.Errorf("%s also takes %s", strings.Join(set, " with "), strings.Join(missing, " and "))
	}
	return nil
}

func within(n, least, most int) error {
	if n < least || n > most {
		return fmt.Errorf("must be from %d to %d", least, most)
	}
	return nil
}

func unsetOrDuration(d, least, most time.Duration) error {
	if d != 0 && (d < least || d > most) {
		return fmt.Errorf("must be from %v to %v, or 0", least, most)
	}
	return nil
}

// unsetOr is within, or 0.
func unsetOr(n, least, most int) error {
	if n == 0 {
		return nil
	}
	if err := within(n, least, most); err != nil {
		return fmt.Errorf("%w, or 0", err)
	}
	return nil
}

func positive(d time.Duration) error {
	if d <= 0 {
		return errors.New("must be more than 0")
	}
	return nil
}

func oneOf(value string, allowed ...string) error {
	if !slices.Contains(allowed, value) {
		return fmt.Errorf("must be one of %s", strings.Join(allowed, ", "))
	}
	return nil
}
