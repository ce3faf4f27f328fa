package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// agentPatience is for one session of an agent: a node process, a dozen calls, retries with
// their waits.
const agentPatience = 3 * time.Minute

// agent is the program of a coding agent; the test is skipped, and says so, where `make agents`
// has not installed it: it takes a quarter of a gigabyte, and no other test needs it.
func agent(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../../.agents/node_modules/.bin", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is not installed: run make agents", name)
	}
	return path
}

// session is a folder of its own for an agent, and what it is told there.
type session struct {
	dir, work string // its home; where it works
	env       []string
}

func newSession(t *testing.T, env ...string) session {
	t.Helper()
	s := session{dir: t.TempDir()}
	s.work = filepath.Join(s.dir, "work")
	if err := os.Mkdir(s.work, 0o700); err != nil {
		t.Fatal(err)
	}
	s.env = append([]string{"HOME=" + s.dir, "PATH=" + os.Getenv("PATH"), "TERM=dumb"}, env...)
	return s
}

// run runs the agent to its good end and gives the JSON lines that it writes.
func (s session) run(t *testing.T, program string, args ...string) []map[string]any {
	t.Helper()
	lines, err := s.try(t, program, args...)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// try is run to any end.
func (s session) try(t *testing.T, program string, args ...string) ([]map[string]any, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), agentPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = s.work, s.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s\n%s", filepath.Base(program), err, last(stdout.String(), 4000), last(stderr.String(), 2000))
	}
	var lines []map[string]any
	in := bufio.NewScanner(&stdout)
	for in.Buffer(nil, 16<<20); in.Scan(); {
		var line map[string]any
		if json.Unmarshal(in.Bytes(), &line) == nil {
			lines = append(lines, line)
		}
	}
	return lines, err
}

func last(s string, n int) string { return s[max(0, len(s)-n):] }

// wrote fails unless the agent's model has had it write the 40 kB file.
func (s session) wrote(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.work, "sim-agent.txt"))
	if err != nil || len(b) != 40000 {
		t.Errorf("the file that the model asked for: %d bytes, %v", len(b), err)
	}
}

// agentsModel is a model under the name that an agent judges it by, with a key for it.
func agentsModel(t *testing.T, g *gateway, name string, model map[string]any) (key string) {
	t.Helper()
	provider := g.create(t, "provider_keys", map[string]any{"display_name": "agents " + name, "api_base": g.SimURL(),
		"secret": `{"access_key_id":"YOUR_AWS_ACCESS_KEY_ID","secret_access_key":"YOUR_AWS_SECRET_ACCESS_KEY","region":"us-west-2"}`})
	c := &tenant{gateway: g, key: "sk-agents-" + name, alias: name}
	c.modelID = g.create(t, "models", merge(map[string]any{"display_name": name, "provider_key_id": provider}, model))
	c.keyID = g.create(t, "apikeys", map[string]any{"key_hash": hex.EncodeToString(sum(c.key)), "allowed_models": []string{name}})
	c.inForce(t)
	return c.key
}

// faultless fails if the simulator took note of something that an agent's upstream should not see, or
// refused something: agents leave out what is refused and try again, and nobody notices.
func faultless(t *testing.T, g *gateway, since time.Time) {
	t.Helper()
	a, err := do(t.Context(), http.MethodGet, g.SimURL()+"/_sim/calls", "", "")
	if err != nil {
		t.Fatal(err)
	}
	var record struct {
		Calls []struct {
			At     time.Time
			Model  string
			Status int
			Faults []string
		}
	}
	if err := json.Unmarshal([]byte(a.body), &record); err != nil {
		t.Fatal(err)
	}
	for _, c := range record.Calls {
		if len(c.Faults) > 0 && c.At.After(since) {
			t.Errorf("%s: %v", c.Model, c.Faults)
		}
		if c.Status == http.StatusBadRequest && c.At.After(since) {
			t.Errorf("%s: refused", c.Model)
		}
	}
}

// once are failures in the middle of a session that an agent tries again after.
const once = "sim:once=throttle=1,unavailable,cut"

// Codex works through the gateway, whoever made the model: tools at once and one after the other, a
// large argument, reasoning that comes back, failures in between, and a session that is resumed.
func TestCodex(t *testing.T) {
	codex := agent(t, "codex")
	g := shared(t)
	for _, model := range []struct {
		name string // by its name Codex knows which shape it sends
		as   map[string]any
	}{
		{"codex-claude", map[string]any{"model_name": "us.anthropic.claude-sonnet-4-5-20250929-v1:0"}},
		{"codex-nova", map[string]any{"model_name": nova}},
		{"codex-responses", map[string]any{"model_name": "us.openai.gpt-5.6-sol", "api": "responses"}},
		{"gpt-6.1-sol", map[string]any{"model_name": "us.openai.gpt-5.6-sol"}}, // tools among the items
	} {
		t.Run(model.name, func(t *testing.T) {
			key := agentsModel(t, g, model.name, model.as)
			s := newSession(t, "KEY="+key)
			s.env = append(s.env, "CODEX_HOME="+s.dir)
			config := fmt.Sprintf("model = %q\nmodel_provider = \"gateway\"\ncheck_for_update_on_startup = false\n[analytics]\nenabled = false\n"+
				"[model_providers.gateway]\nname = \"gateway\"\nbase_url = %q\nenv_key = \"KEY\"\nwire_api = \"responses\"\nrequest_max_retries = 5\nstream_max_retries = 5\n", model.name, g.proxy+"/v1")
			if err := os.WriteFile(filepath.Join(s.dir, "config.toml"), []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			exec := []string{"exec", "--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"}
			said := codexSaid(t, s.run(t, codex, append(exec, "sim:agent=. "+once+" Do it for "+model.name+".")...))
			if !strings.Contains(said, "done after 3 steps") {
				t.Errorf("said %q", said)
			}
			if model.name != "gpt-6.1-sol" { // its one tool runs a language of its own
				s.wrote(t)
			}
			if said = codexSaid(t, s.run(t, codex, append(exec, "resume", "--last", "sim:no-tools sim:say=resumed Well?")...)); said != "resumed" {
				t.Errorf("said %q", said)
			}
			faultless(t, g, began)
		})
	}
}

// codexSaid is the last message of a session, which came to a good end.
func codexSaid(t *testing.T, lines []map[string]any) (said string) {
	t.Helper()
	completed := false
	for _, line := range lines {
		item, _ := line["item"].(map[string]any)
		switch {
		case line["type"] == "item.completed" && item["type"] == "agent_message":
			said, _ = item["text"].(string)
		case line["type"] == "turn.completed":
			completed = true
		}
	}
	if !completed {
		t.Errorf("no good end: %v", lines)
	}
	return said
}

// Claude Code works through the gateway: to Claude as it came, by InvokeModel and by Messages, and to
// another family translated.
func TestClaudeCode(t *testing.T) {
	claude := agent(t, "claude")
	g := shared(t)
	for _, model := range []struct {
		name string // by its name Claude Code knows what the model can do
		as   map[string]any
	}{
		{"claude-sonnet-4-5-gateway", map[string]any{"model_name": "us.anthropic.claude-sonnet-4-5-20250929-v1:0"}},
		{"claude-opus-5-5", map[string]any{"model_name": "us.anthropic.claude-opus-5-5"}},
		{"claude-mantle", map[string]any{"model_name": "anthropic.claude-sonnet-4-6", "host": "mantle"}},
		{"claude-nova", map[string]any{"model_name": nova}},
	} {
		t.Run(model.name, func(t *testing.T) {
			s := claudeSession(t, g, model.name, agentsModel(t, g, model.name, model.as))
			began := time.Now()
			args := []string{"--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions"}
			said, id := claudeSaid(t, s.run(t, claude, append([]string{"-p", "sim:agent=" + s.work + " sim:once=throttle=1,unavailable Do it for " + model.name + "."}, args...)...))
			if !strings.Contains(said, "done after 3 steps") {
				t.Errorf("said %q", said)
			}
			s.wrote(t)
			if said, _ = claudeSaid(t, s.run(t, claude, append([]string{"-p", "sim:no-tools sim:say=resumed Well?", "--resume", id}, args...)...)); said != "resumed" {
				t.Errorf("said %q", said)
			}
			faultless(t, g, began)
		})
	}
}

// Claude Code compacts a conversation that has become too long for the model, whatever that model's
// own words for it are, and goes on with what it made of it.
func TestClaudeCodeCompacts(t *testing.T) {
	claude := agent(t, "claude")
	g := shared(t)
	for name, model := range map[string]string{"claude-compacts": "anthropic.claude-sonnet-4-5-20250929-v1:0", "nova-compacts": nova} {
		t.Run(name, func(t *testing.T) {
			s := claudeSession(t, g, name, agentsModel(t, g, name, map[string]any{"model_name": model}))
			lines, err := s.try(t, claude, "-p", "sim:agent="+s.work+" sim:once=too-long Do it for "+name+".", "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions")
			var compacted, ended bool
			for _, line := range lines {
				compacted = compacted || line["subtype"] == "compact_boundary"
				ended = ended || line["type"] == "result" && line["subtype"] == "success" && line["is_error"] == false
			}
			if err != nil || !compacted || !ended {
				t.Errorf("compacted %v, came to a good end %v: %v", compacted, ended, err)
			}
		})
	}
}

// claudeSession is a folder for Claude Code, and what tells it to use the gateway.
func claudeSession(t *testing.T, g *gateway, model, key string) session {
	t.Helper()
	return newSession(t, "ANTHROPIC_BASE_URL="+g.proxy, "ANTHROPIC_AUTH_TOKEN="+key, "ANTHROPIC_MODEL="+model, "ANTHROPIC_SMALL_FAST_MODEL="+model,
		"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_TELEMETRY=1", "DISABLE_ERROR_REPORTING=1", "DISABLE_AUTOUPDATER=1", "IS_SANDBOX=1", "CLAUDE_CODE_MAX_RETRIES=6")
}

// claudeSaid is the result of a session, which came to a good end, and the session's id.
func claudeSaid(t *testing.T, lines []map[string]any) (said, id string) {
	t.Helper()
	for _, line := range lines {
		if line["type"] != "result" {
			continue
		}
		if line["is_error"] == true || line["subtype"] != "success" {
			t.Errorf("%v", line)
		}
		said, _ = line["result"].(string)
		id, _ = line["session_id"].(string)
	}
	return said, id
}
