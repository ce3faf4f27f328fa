package sim

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// An agent's model: told sim:agent, the simulator uses the tools that it is offered for several turns, as
// a model of Claude Code or Codex does, and then says that it is done. What it does next it reads in the
// conversation, so that a session may be tried again, resumed, or go to another simulator.
//
//	step 0: two calls at once, of a shell where there is one
//	step 1: one call with an argument of 40 kB: a file is written, or a patch applied
//	step 2: a look at it, and a shell's at its size
//	then a text that tells what came of it

// agentSteps are the turns with calls.
const agentSteps = 3

// bigArgument is how long the argument of step 1 is.
const bigArgument = 40_000

// agent is the scenario of a conversation, where it has one.
type agent struct {
	dir  string // where files are written
	idle bool   // there are failures to come, and no agent
	step int    // turns with calls so far
	key  string // what tells the session from others
	once []string
}

// session finds the scenario: told since a user last answered a text without a call. Such a text that
// nobody answered is the beginning of a turn that broke off.
func (a *ask) session(told behaviour) *agent {
	begin := 0
	for i, p := range a.past {
		if !p.user && p.calls == 0 && i+1 < len(a.past) && a.past[i+1].user && !blank(a.past[i+1].text) {
			begin = i + 1
		}
	}
	found := &agent{dir: told["agent"]}
	active := told.has("agent")
	if told["once"] != "" {
		found.once = strings.Split(told["once"], ",")
	}
	for _, p := range a.past[begin:] {
		if !p.user {
			found.step += min(p.calls, 1)
			continue
		}
		found.key = or(found.key, strings.TrimSpace(p.text))
		for _, m := range controlWord.FindAllStringSubmatch(p.text, -1) {
			switch m[1] {
			case "agent":
				active, found.dir, found.key = true, m[2], p.text
			case "once":
				found.once, found.key = strings.Split(m[2], ","), p.text
			}
		}
	}
	if !active && len(found.once) == 0 {
		return nil
	}
	found.idle = !active
	found.dir = or(found.dir, "/tmp")
	return found
}

// calls are what the agent does in this step, nil where it is done or has no tools.
func (g *agent) calls(a *ask) []block {
	if g.idle || g.step >= agentSteps || len(a.tools) == 0 || a.choice == "none" {
		return nil
	}
	var uses []block
	shell, write, read := a.shell(), a.tool("Write", "write_file", "apply_patch"), a.tool("Read", "read_file")
	file := strings.TrimSuffix(g.dir, "/") + "/sim-agent.txt"
	switch {
	case shell == nil:
		uses = a.generic(g.step)
	case g.step == 0:
		uses = []block{a.run(*shell, "pwd; echo one"), a.run(*shell, "echo two")}
	case g.step == 1 && write != nil:
		uses = []block{a.write(*write, file)}
	case g.step == 1:
		uses = []block{a.run(*shell, "cat > "+file+" <<'END'\n"+bigText()+"END")}
	default:
		uses = []block{a.run(*shell, "wc -c < "+file)}
		if read != nil {
			uses = append(uses, a.useWith(*read, object{"file_path": file, "path": file, "limit": 3}))
		}
	}
	if a.serial {
		uses = uses[:1]
	}
	for i := range uses {
		uses[i].id = a.callID(uses[i].name, i)
	}
	return uses
}

// tool is the first of these names that is offered.
func (a *ask) tool(names ...string) *toolDef {
	for _, name := range names {
		for i, t := range a.tools {
			if t.name == name {
				return &a.tools[i]
			}
		}
	}
	return nil
}

// shell is the tool that runs commands.
func (a *ask) shell() *toolDef {
	return a.tool("Bash", "exec_command", "shell_command", "shell", "local_shell", "container.exec", "bash", "exec")
}

// run is a call of a shell, by what its schema calls the command.
func (a *ask) run(t toolDef, command string) block {
	switch {
	case t.kind == "custom":
		return a.useRaw(t, command)
	case t.kind == "local_shell", kind(property(t, "command")) == "array":
		return a.useWith(t, object{"command": []any{"bash", "-lc", command}})
	case property(t, "cmd") != nil:
		return a.useWith(t, object{"cmd": command})
	default:
		return a.useWith(t, object{"command": command, "description": "Runs what the simulator asks for"})
	}
}

// write is a call that writes the big file.
func (a *ask) write(t toolDef, file string) block {
	if t.name != "apply_patch" {
		return a.useWith(t, object{"file_path": file, "path": file, "content": bigText()})
	}
	patch := "*** Begin Patch\n*** Add File: " + file + "\n+" + strings.ReplaceAll(strings.TrimSuffix(bigText(), "\n"), "\n", "\n+") + "\n*** End Patch\n"
	if t.kind == "custom" {
		return a.useRaw(t, patch)
	}
	return a.useWith(t, object{"input": patch, "patch": patch})
}

// bigText is lines of text, bigArgument bytes of them.
func bigText() string {
	var b strings.Builder
	for i := 1; b.Len() < bigArgument; i++ {
		fmt.Fprintf(&b, "line %04d of what the simulator's agent wrote: \"quoted\", \\escaped\\ and ünïcode\n", i)
	}
	return b.String()[:bigArgument-1] + "\n"
}

// generic is what an agent does with tools that it has never seen.
func (a *ask) generic(step int) []block {
	uses := []block{a.useWith(a.tools[0], nil)}
	switch {
	case step == 0 && len(a.tools) > 1:
		uses = append(uses, a.useWith(a.tools[1], nil))
	case step == 0:
		uses = append(uses, a.useWith(a.tools[0], nil))
	case step == 1:
		for _, t := range a.tools {
			if t.kind == "custom" {
				return []block{a.useRaw(t, bigText())}
			}
			properties, _ := t.schema["properties"].(object)
			for _, name := range sortedNames(properties) {
				if p, _ := properties[name].(object); kind(p) == "string" && p["enum"] == nil && p["maxLength"] == nil {
					return []block{a.useWith(t, object{name: bigText()})}
				}
			}
		}
	}
	return uses
}

func sortedNames(o object) []string {
	names := make([]string, 0, len(o))
	for name := range o {
		names = append(names, name)
	}
	return sorted(names)
}

// property is a member of a tool's schema.
func property(t toolDef, name string) object {
	o, _ := child(t.schema, "properties", name).(object)
	return o
}

// useWith is a call with these arguments, of them those that the schema has, and what else it requires. An
// optional member is left alone: a timeout of 1 would end a command.
func (a *ask) useWith(t toolDef, with object) block {
	required := object{}
	properties, known := t.schema["properties"].(object)
	wanted := items(t.schema, "required")
	for name, p := range properties {
		if slices.Contains(wanted, any(name)) {
			required[name] = p
		}
	}
	arguments, _ := fill(object{"type": "object", "properties": required, "$defs": t.schema["$defs"]}, a.prompt).(object)
	for name, v := range with {
		if !known || properties[name] != nil {
			arguments[name] = v
		}
	}
	return block{kind: "tool", name: t.name, input: compact(arguments), tool: t.kind, namespace: t.namespace}
}

// useRaw is a call of a custom tool, whose input is no JSON.
func (a *ask) useRaw(t toolDef, input string) block {
	return block{kind: "tool", name: t.name, input: input, tool: t.kind, namespace: t.namespace}
}

// done is what the agent says at its end.
func (g *agent) done(a *ask) string {
	var parts []string
	for _, r := range a.results {
		text := []rune(strings.TrimSpace(r.text))
		parts = append(parts, fmt.Sprintf("%s said %q", or(r.tool, "a tool"), string(text[:min(len(text), 80)])))
	}
	return fmt.Sprintf("The simulator's agent is done after %d steps: %s.", g.step, or(strings.Join(parts, ", "), "it had no tools"))
}

// sessions remembers which failures a session has had.
type sessions struct {
	mu   sync.Mutex
	seen map[[sha256.Size]byte]*progress
}

type progress struct{ failures, step int }

// fail is the next failure of a session, "" where it is to go well: from the second turn on, one a turn,
// each once. Whoever tries again gets on.
func (s *sessions) fail(g *agent) string {
	if g.step < 1 || len(g.once) == 0 {
		return ""
	}
	key := sha256.Sum256([]byte(g.key))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil || len(s.seen) > maxKept {
		s.seen = map[[sha256.Size]byte]*progress{}
	}
	p := s.seen[key]
	if p == nil {
		p = &progress{}
		s.seen[key] = p
	}
	if p.failures >= len(g.once) || p.step >= g.step {
		return ""
	}
	p.step = g.step
	p.failures++
	return g.once[p.failures-1]
}

// agentFaults are what an agent's caller does with its cache marks that costs it: a mark moves with the
// conversation, and what was marked before is read.
func (a *ask) agentFaults() (faults []string) {
	if a.agent.step < 1 || a.marks == 0 {
		return nil
	}
	if !a.markedLast {
		faults = append(faults, "cache: there are marks, but none on the last turn")
	}
	if a.cache.read == 0 {
		faults = append(faults, "cache: nothing was read in a later turn of a session")
	}
	return faults
}
