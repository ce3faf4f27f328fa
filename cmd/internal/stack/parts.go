package stack

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"aisix/cmd/internal/bootstrap"
	"aisix/cmd/internal/config"
)

// longestSocket is the longest path of a Unix socket.
const longestSocket = 107

// valkey is a server at redis.url, which must be plain TCP without a password: it is for this
// machine only. It keeps an append-only file and never evicts, since a key that it drops is a
// resource or a count that is lost. Without fsync what it has answered is in the file, and survives
// its being killed; with everysec it may hold a write back for two seconds while an fsync runs.
//
// Beside its port it serves a socket in the data folder, whose URL is for the other parts: a round
// trip costs both ends less there. It is empty where the socket's path would be too long.
func (s *Stack) valkey(o Options) (p *Part, socket string, err error) {
	options, err := s.Config.Redis.Options()
	if err != nil {
		return nil, "", err
	}
	host, port, err := tcp(options.Addr)
	if err != nil || options.Network != "tcp" || options.TLSConfig != nil || options.Password != "" {
		return nil, "", errors.New("redis.url: the Valkey that is started here listens on host:port without TLS or password; for one that runs already name it in AISIX_REDIS__URL")
	}
	args := []string{
		"--bind", host, "--port", port, "--dir", filepath.Join(s.Dir, "valkey"),
		"--appendonly", "yes", "--appendfsync", "no", "--save", "",
		"--maxmemory-policy", "noeviction", "--daemonize", "no",
	}
	if path := filepath.Join(s.Dir, "valkey", "valkey.sock"); filepath.IsAbs(path) && len(path) <= longestSocket {
		args = append(args, "--unixsocket", path, "--unixsocketperm", "600")
		socket = (&url.URL{Scheme: "unix", Path: path, RawQuery: "db=" + strconv.Itoa(options.DB)}).String()
	}
	p = s.part(Valkey, o.Valkey, o.Env, args...)
	p.listens = []listen{{"tcp", options.Addr, "name a Redis that runs already: AISIX_REDIS__URL=redis://host:port"}}
	p.ready = func(ctx context.Context) error {
		client := redis.NewClient(&redis.Options{Addr: options.Addr, MaxRetries: -1})
		defer client.Close()
		return client.Ping(ctx).Err() // an error also while it loads its file
	}
	return p, socket, nil
}

func (s *Stack) admin(o Options) *Part {
	p := s.part(Admin, filepath.Join(o.Bin, Admin), o.Env, o.withConfig()...)
	p.listens = []listen{{"tcp", s.Config.Admin.Address, elsewhere("admin.address")}}
	p.ready = get(s.AdminURL()+"/readyz", "store_lost") // that it is told, and confirmed, by requests
	return p
}

// extproc is ready when it listens; whether it has a snapshot, Envoy's part asks.
func (s *Stack) extproc(o Options) *Part {
	p := s.part(Extproc, filepath.Join(o.Bin, Extproc), o.Env, o.withConfig()...)
	network, address := s.Config.Extproc.Network()
	p.listens = []listen{{network, address, elsewhere("extproc.address")}}
	if s.Config.Metrics.Address != "" {
		p.listens = append(p.listens, listen{"tcp", s.Config.Metrics.Address, elsewhere("metrics.address")})
	}
	p.ready = dial(network, address)
	return p
}

func (s *Stack) sim(o Options) *Part {
	p := s.part(Sim, filepath.Join(o.Bin, Sim), o.Env, append([]string{"-address", o.SimAddress}, o.SimArgs...)...)
	p.listens = []listen{{"tcp", o.SimAddress, "choose another address: make run SIM=host:port"}}
	p.ready = dial("tcp", reachable(o.SimAddress))
	return p
}

// envoy is ready when a request gets through it to an extproc that is ready. Its file is written
// here, from the same configuration.
func (s *Stack) envoy(o Options) (*Part, error) {
	path := filepath.Join(s.Dir, "bootstrap.yaml")
	if err := bootstrap.Write(s.Config, path); err != nil {
		return nil, err
	}
	p := s.part(Envoy, o.Envoy, o.Env, bootstrap.Arguments(s.Config, path)...)
	p.listens = []listen{{"tcp", s.Config.Proxy.Address, elsewhere("proxy.address")}}
	if s.Config.Proxy.StatsAddress != "" {
		p.listens = append(p.listens, listen{"tcp", s.Config.Proxy.StatsAddress, elsewhere("proxy.stats_address")})
	}
	if socket, ok := strings.CutPrefix(s.Config.Proxy.EnvoyAdmin, "unix:"); ok {
		p.listens = append(p.listens, listen{"unix", socket, elsewhere("proxy.envoy_admin")})
	}
	if address := s.Config.EgressAddress(); address != "" {
		network, at := config.Network(address)
		p.listens = append(p.listens, listen{network, at, elsewhere("egress.address")})
	}
	p.ready = get(s.ProxyURL() + "/readyz")
	return p, nil
}

// get is ready once a GET answers 200, or an error with one of these codes. Certificates are not
// checked: it may be a private one, and nothing is sent.
func get(address string, codes ...string) func(context.Context) error {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
	}}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return nil
		}
		var problem struct{ Code string }
		if json.NewDecoder(io.LimitReader(response.Body, 64<<10)).Decode(&problem) == nil && slices.Contains(codes, problem.Code) {
			return nil
		}
		return fmt.Errorf("GET %s: %s", address, response.Status)
	}
}

// dial is ready once a connection can be made.
func dial(network, address string) func(context.Context) error {
	return func(ctx context.Context) error {
		var d net.Dialer
		connection, err := d.DialContext(ctx, network, address)
		if err != nil {
			return err
		}
		return connection.Close()
	}
}
