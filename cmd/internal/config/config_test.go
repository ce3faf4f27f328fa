package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const root = "../../../"

func TestTheShippedFileHoldsEveryKeyAtItsDefault(t *testing.T) {
	path := root + "deploy/config.yaml"
	got, err := Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Admin.Key = SampleAdminKey
	if diff := cmp.Diff(fields(want), fields(got)); diff != "" {
		t.Errorf("deploy/config.yaml (-default +file):\n%s", diff)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string // of sections and groups
	written := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if key, _, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && !strings.HasPrefix(key, "#") {
			depth := (len(line) - len(strings.TrimLeft(line, " "))) / 2
			keys = append(keys[:depth], key)
			written[strings.Join(keys, ".")] = true
		}
	}
	for _, l := range leavesOf(want) {
		if !written[l.key] {
			t.Errorf("deploy/config.yaml leaves out %s", l.key)
		}
	}
}

func TestTheReferencePageListsEveryKeyVariableAndDefault(t *testing.T) {
	page, err := os.ReadFile(root + "docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+)` \\| (`[A-Z0-9_]+` \\| .*?) \\|").FindAllStringSubmatch(string(page), -1) {
		got[row[1]] = row[2]
	}
	want := map[string]string{}
	for key, value := range fields(Default()) {
		if value = "`" + value + "`"; value == "``" {
			value = "–"
		}
		want[key] = "`" + EnvName(key) + "` | " + value
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/configuration.md (-code +page):\n%s", diff)
	}
}

func TestTheEnvironmentWinsOverTheFileAndTheFileOverDefaults(t *testing.T) {
	path := write(t, "redis:\n  url: redis://file:1\n  username: file\ntimeouts:\n  drain: 1m\nadmin:\n")
	got, err := Load(path, []string{
		"AISIX_REDIS__URL=redis://env:2", "AISIX_TIMEOUTS__CALL=90s", "AISIX_PROXY__TRUSTED_HOPS=2",
		"AISIX_ADMIN__ALLOW_SAMPLE_KEY=true", "AISIX_ADMIN__KEY=sixteen=letters=", "AISIX_ADMIN_KEY=the page's own", "HOME=/",
		"AISIX_ADMIN__ALLOWED_HOSTS=admin.example.com, 10.0.0.5", "AISIX_PROXY__CORS__ALLOW_ORIGINS=https://app.example.com, https://*.example.org",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Redis.URL, want.Redis.Username = "redis://env:2", "file"
	want.Timeouts.Drain, want.Timeouts.Call = time.Minute, 90*time.Second
	want.Proxy.TrustedHops, want.Admin.AllowSampleKey, want.Admin.Key = 2, true, "sixteen=letters="
	want.Admin.AllowedHosts = []string{"admin.example.com", "10.0.0.5"}
	want.Proxy.CORS.AllowOrigins = []string{"https://app.example.com", "https://*.example.org"}
	if diff := cmp.Diff(fields(want), fields(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestEveryKeyHasAnEnvironmentOverride(t *testing.T) {
	samples := map[string]string{"int": "1025", "bool": "true", "time.Duration": "7s", "[]string": "one, two"}
	for _, l := range leavesOf(Default()) {
		value := samples[l.value.Type().String()]
		if value == "" {
			value = "text"
		}
		_, err := Load("", []string{EnvName(l.key) + "=" + value})
		if err != nil && (strings.Contains(err.Error(), "unknown") || strings.Contains(err.Error(), value)) {
			t.Errorf("%s=%s: %v", EnvName(l.key), value, err)
		}
	}
}

func TestProblemsAreReportedTogetherByNameAndWithoutValues(t *testing.T) {
	cases := map[string]struct {
		file string
		env  []string
		want []string
	}{
		"unknown keys, sections and variables": {
			file: "proxy:\n  adress: hunter2\nredsi:\n  url: hunter2\nloose: hunter2\n",
			env:  []string{"AISIX_PROXY__PORT=hunter2"},
			want: []string{"AISIX_PROXY__PORT: unknown environment variable", "loose: unknown section", "proxy.adress: unknown key", "redsi: unknown section"},
		},
		"of every sort": {
			file: "proxy:\n  adress: hunter2\n  max_connections: many\n  trusted_hops: -1\n",
			env:  []string{"AISIX_LIMITS__ON_REDIS_FAILURE=hunter2", "AISIX_REDIS__COLOUR=hunter2"},
			want: []string{"AISIX_REDIS__COLOUR: unknown environment variable", "proxy.adress: unknown key", "proxy.max_connections: must be a whole number", "proxy.trusted_hops: must be from", "limits.on_redis_failure: must be one of"},
		},
		"ill-typed": {
			file: "timeouts:\n  call: hunter2\n  request: 5\nadmin:\n  allow_sample_key: hunter2\n  key: [hunter2]\nproxy:\n  max_body_bytes: 1.5\nredis: hunter2\n",
			want: []string{"redis: holds keys, not a value", "proxy.max_body_bytes: must be a whole number", "admin.key: must be a string (quote it)",
				"admin.allow_sample_key: must be true or false", "timeouts.request: must be a duration, such as 500ms, 15s or 10m", "timeouts.call: must be a duration, such as 500ms, 15s or 10m"},
		},
		"out of range": {
			env: []string{"AISIX_PROXY__ADDRESS=hunter2", "AISIX_PROXY__TLS_CERT_FILE=c", "AISIX_PROXY__MAX_BODY_BYTES=0", "AISIX_PROXY__TRUSTED_HOPS=-1",
				"AISIX_PROXY__ENVOY_ADMIN=127.0.0.1:9901", "AISIX_REDIS__URL=http://hunter2", "AISIX_REDIS__CA_FILE=c", "AISIX_LIMITS__ON_REDIS_FAILURE=hunter2",
				"AISIX_TIMEOUTS__DRAIN=0s", "AISIX_LOGGING__LEVEL=hunter2", "AISIX_METRICS__ADDRESS=9090", "AISIX_SECRETS__MASTER_KEY=hunter2", "AISIX_SECRETS__MASTER_KEY_FILE=f"},
			want: []string{"proxy.address: ", "proxy.tls_cert_file: ", "proxy.max_body_bytes: ", "proxy.trusted_hops: ", "proxy.envoy_admin: ", "redis.url: ", "redis.ca_file: ",
				"limits.on_redis_failure: must be one of local, open, closed", "timeouts.drain: ", "logging.level: ", "metrics.address: ", "secrets.master_key: "},
		},
		"the sample key where others reach it": {
			env:  []string{"AISIX_ADMIN__ADDRESS=0.0.0.0:3001", "AISIX_ADMIN__KEY=" + SampleAdminKey},
			want: []string{"admin.key: is the sample key"},
		},
		"a short key": {
			env:  []string{"AISIX_ADMIN__KEY=hunter2-hunter2"},
			want: []string{"admin.key: must have at least 16 characters: make one with `openssl rand -base64 32`"},
		},
		"a key that no header carries": {
			env:  []string{"AISIX_ADMIN__KEY=hunter2 hunter2 hunter2 "},
			want: []string{"admin.key: must not begin or end with a space"},
		},
		"hosts with more than a host": {
			file: "admin:\n  allowed_hosts: [admin.example.com, 'https://hunter2.example']\n",
			want: []string{"admin.allowed_hosts: must be host names or IP addresses, without scheme, port or path"},
		},
		"hosts that are no strings": {
			file: "admin:\n  allowed_hosts: [1]\n",
			want: []string{"admin.allowed_hosts: must be a list of strings"},
		},
		"hosts that are no list": {
			file: "admin:\n  allowed_hosts: {hunter2: hunter2}\n",
			want: []string{"admin.allowed_hosts: must be a list of strings"},
		},
		"extproc where others reach it": {
			env:  []string{"AISIX_EXTPROC__ADDRESS=0.0.0.0:3002"},
			want: []string{"extproc.address: is not loopback"},
		},
		"one underscore too few": {
			env:  []string{"AISIX_REDIS_URL=hunter2", "AISIX_ADMIN_TLS_CERT_FILE=hunter2", "AISIX_ADMIN_KEY=hunter2", "AISIX_API_KEY=hunter2"},
			want: []string{"AISIX_ADMIN_TLS_CERT_FILE: unknown environment variable; AISIX_ADMIN__TLS_CERT_FILE has two", "AISIX_REDIS_URL: unknown environment variable; AISIX_REDIS__URL has two underscores behind the section"},
		},
		"groups of keys": {
			file: "proxy:\n  cors:\n    allow_origin: hunter2\n",
			env:  []string{"AISIX_PROXY__CORS=hunter2", "AISIX_PROXY_CORS__ALLOW_ORIGINS=hunter2"},
			want: []string{"AISIX_PROXY_CORS__ALLOW_ORIGINS: unknown environment variable; AISIX_PROXY__CORS__ALLOW_ORIGINS has two", "AISIX_PROXY__CORS: unknown environment variable", "proxy.cors.allow_origin: unknown key"},
		},
		"a group that is a value": {
			file: "proxy:\n  cors: hunter2\n",
			want: []string{"proxy.cors: holds keys, not a value"},
		},
		"an origin that is a host":    {env: []string{"AISIX_PROXY__CORS__ALLOW_ORIGINS=hunter2.example"}, want: []string{"proxy.cors.allow_origins: must be origins with their scheme"}},
		"an origin with a path":       {env: []string{"AISIX_PROXY__CORS__ALLOW_ORIGINS=https://hunter2.example/"}, want: []string{"proxy.cors.allow_origins: must be origins: scheme, host and port"}},
		"an origin in upper case":     {env: []string{"AISIX_PROXY__CORS__ALLOW_ORIGINS=https://hunter2.Example"}, want: []string{"proxy.cors.allow_origins: must be in lower case"}},
		"an origin with https's port": {env: []string{"AISIX_PROXY__CORS__ALLOW_ORIGINS=https://hunter2.example:443"}, want: []string{"proxy.cors.allow_origins: must leave out the scheme's own port"}},
		"an origin of none":           {env: []string{"AISIX_PROXY__CORS__ALLOW_ORIGINS=null"}, want: []string{"proxy.cors.allow_origins: must not hold null"}},
		"a star in a word":            {env: []string{"AISIX_PROXY__CORS__ALLOW_ORIGINS=*,https://hunter2*.example"}, want: []string{"proxy.cors.allow_origins: must be host names or IP addresses behind the scheme"}},
		"a star for a label within":   {env: []string{"AISIX_PROXY__CORS__ALLOW_ORIGINS=https://a.*.hunter2"}, want: []string{"proxy.cors.allow_origins: must be host names"}},
		"a star for a host":           {env: []string{"AISIX_PROXY__CORS__ALLOW_ORIGINS=https://*"}, want: []string{"proxy.cors.allow_origins: must be host names"}},
		"an empty origin":             {file: "proxy:\n  cors:\n    allow_origins: ['']\n", want: []string{"proxy.cors.allow_origins: must be origins"}},
		"origins that are no list":    {file: "proxy:\n  cors:\n    allow_origins: [1]\n", want: []string{"proxy.cors.allow_origins: must be a list of strings"}},
		"a limit of connections for proxies": {
			env:  []string{"AISIX_PROXY__TRUSTED_HOPS=1", "AISIX_PROXY__MAX_CONNECTIONS_PER_ADDRESS=10"},
			want: []string{"proxy.max_connections_per_address: counts the connections of whoever connects"},
		},
		"a relative socket": {
			env:  []string{"AISIX_EXTPROC__ADDRESS=unix:hunter2"},
			want: []string{"extproc.address: must be unix:/path"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Load(write(t, c.file), c.env)
			if err == nil {
				t.Fatal("loaded")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in:\n%v", want, err)
				}
			}
			if lines := strings.Count(err.Error(), "\n"); lines != len(c.want) {
				t.Errorf("%d problems, want %d:\n%v", lines, len(c.want), err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a value is echoed:\n%v", err)
			}
		})
	}
}

func TestWhatIsAllowed(t *testing.T) {
	for name, env := range map[string][]string{
		"sample key on loopback":          {"AISIX_ADMIN__KEY=" + SampleAdminKey, "AISIX_ADMIN__ADDRESS=[::1]:3001"},
		"sample key elsewhere, knowingly": {"AISIX_ADMIN__KEY=" + SampleAdminKey, "AISIX_ADMIN__ADDRESS=:3001", "AISIX_ADMIN__ALLOW_SAMPLE_KEY=1"},
		"own key elsewhere":               {"AISIX_ADMIN__KEY=sixteen letters!", "AISIX_ADMIN__ADDRESS=:3001"},
		"hosts of every kind":             {"AISIX_ADMIN__ALLOWED_HOSTS=admin,Admin.Example.com.,10.0.0.5,::1,[fd00::1],*"},
		"no hosts":                        {"AISIX_ADMIN__ALLOWED_HOSTS= "},
		"extproc on a socket":             {"AISIX_EXTPROC__ADDRESS=unix:/run/x"},
		"extproc elsewhere with mTLS":     {"AISIX_EXTPROC__ADDRESS=:3002", "AISIX_EXTPROC__TLS_CERT_FILE=c", "AISIX_EXTPROC__TLS_KEY_FILE=k", "AISIX_EXTPROC__CLIENT_CA_FILE=a"},
		"origins of every kind":           {"AISIX_PROXY__CORS__ALLOW_ORIGINS=*,https://app.example.com,https://*.example.com,http://localhost:*,http://127.0.0.1:5173,http://[::1]:3000,https://*.example.com:8443,tauri://localhost,chrome-extension://abcdefghijklmnop"},
		"no origins":                      {"AISIX_PROXY__CORS__ALLOW_ORIGINS="},
		"metrics off":                     {"AISIX_METRICS__ADDRESS="},
	} {
		if _, err := Load("", env); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAFileThatIsMissingOrBroken(t *testing.T) {
	for name, path := range map[string]string{
		"missing":   filepath.Join(t.TempDir(), "none.yaml"),
		"not YAML":  write(t, "proxy: [\n"),
		"duplicate": write(t, "proxy:\n  address: a:1\n  address: b:2\n"),
		"a word":    write(t, "hunter2\n"),
		"a list":    write(t, "- hunter2\n"),
	} {
		if _, err := Load(path, nil); err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	c, err := Load("", []string{"AISIX_ADMIN__KEY=hunter2-hunter2-hunter2", "AISIX_REDIS__PASSWORD=hunter2", "AISIX_SECRETS__MASTER_KEY=hunter2"})
	if err != nil {
		t.Fatal(err)
	}
	marshalled, _ := json.Marshal(c)
	if printed := fmt.Sprintf("%v %+v %#v %s %s", *c, *c, *c, c.Admin.Key, marshalled); strings.Contains(printed, "hunter2") {
		t.Errorf("a secret is printed: %s", printed)
	}
	if c.Admin.Key.Reveal() != "hunter2-hunter2-hunter2" {
		t.Errorf("Reveal gives %q", c.Admin.Key.Reveal())
	}
}

// fields is a Config as text by key, as the file would write it.
func fields(c *Config) map[string]string {
	all := map[string]string{}
	for _, l := range leavesOf(c) {
		switch v := l.value.Interface().(type) {
		case Secret:
			all[l.key] = v.Reveal()
		case time.Duration:
			all[l.key] = v.String()
			if v%time.Minute == 0 {
				all[l.key] = strings.TrimSuffix(v.String(), "0s")
			}
		case []string:
			all[l.key] = strings.Join(v, ", ")
		default:
			all[l.key] = fmt.Sprint(v)
		}
	}
	return all
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
