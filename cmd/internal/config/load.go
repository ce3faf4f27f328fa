package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/viper"
)

const (
	envPrefix = "AISIX_"
	// pageAdminKey is what the documentation page has people export for its curl commands: no
	// override of admin.key.
	pageAdminKey = "AISIX_ADMIN_KEY"
)

// Load is the defaults, overridden by the file at path (none when path is empty), overridden by
// env (NAME=value, as os.Environ has it). The error holds every problem found, one a line: unknown
// keys and variables by name, values by key and never by content, since they may be secrets.
func Load(path string, env []string) (*Config, error) {
	c := Default()
	leaves := leavesOf(c)
	v := viper.New()
	for _, l := range leaves {
		v.SetDefault(l.key, l.value.Interface())
	}
	if path != "" {
		v.SetConfigFile(path)
		v.SetConfigType("yaml")
		if err := v.ReadInConfig(); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("config: no file %s", path)
			}
			return nil, fmt.Errorf("config: %s: %s", path, quoted.ReplaceAllString(err.Error(), "a value"))
		}
	}
	problems := override(v, leaves, env)
	problems = append(problems, unknown(v, leaves)...)
	for _, l := range leaves {
		if err := set(l.value, v.Get(l.key)); err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", l.key, err))
		}
	}
	problems = append(problems, c.problems()...) // what could not be set is at its default
	if len(problems) > 0 {
		where := "config"
		if path != "" {
			where = path
		}
		return nil, fmt.Errorf("%s:\n  %s", where, strings.Join(problems, "\n  "))
	}
	return c, nil
}

// quoted is a piece of the file in the YAML parser's words: it may be a secret.
var quoted = regexp.MustCompile("`[^`]*`")

// EnvName is the variable that overrides a key: redis.url → AISIX_REDIS__URL.
func EnvName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "__"))
}

// A leaf is one key and the field of a Config that holds it.
type leaf struct {
	key   string
	value reflect.Value
}

func leavesOf(c *Config) []leaf { return leavesBelow("", reflect.ValueOf(c).Elem()) }

// leavesBelow are those of a struct: its own structs are sections, and groups of keys in them.
func leavesBelow(prefix string, v reflect.Value) (leaves []leaf) {
	for i := range v.NumField() {
		field, name := v.Field(i), prefix+v.Type().Field(i).Tag.Get("key")
		if field.Kind() == reflect.Struct {
			leaves = append(leaves, leavesBelow(name+".", field)...)
		} else {
			leaves = append(leaves, leaf{name, field})
		}
	}
	return leaves
}

func override(v *viper.Viper, leaves []leaf, env []string) (problems []string) {
	names := make(map[string]string, len(leaves))
	for _, l := range leaves {
		names[EnvName(l.key)] = l.key
	}
	single := make(map[string]string, len(leaves)) // written with one underscore, by mistake
	for name := range names {
		single[strings.Replace(name, "__", "_", 1)] = name
	}
	for _, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		if meant := single[name]; meant != "" && name != pageAdminKey {
			problems = append(problems, name+": unknown environment variable; "+meant+" has two underscores behind the section")
			continue
		}
		if !strings.HasPrefix(name, envPrefix) || !strings.Contains(name, "__") {
			continue
		}
		key, ok := names[name]
		if !ok {
			problems = append(problems, name+": unknown environment variable")
			continue
		}
		v.Set(key, value)
	}
	slices.Sort(problems)
	return problems
}

func unknown(v *viper.Viper, leaves []leaf) (problems []string) {
	known := make(map[string]bool, len(leaves))
	sections := map[string]bool{} // and groups
	for _, l := range leaves {
		known[l.key] = true
		for i, c := range l.key {
			if c == '.' {
				sections[l.key[:i]] = true
			}
		}
	}
	var look func(prefix string, members map[string]any)
	look = func(prefix string, members map[string]any) {
		for name, value := range members {
			name = prefix + name
			inner, isMap := value.(map[string]any)
			switch {
			case sections[name] && isMap:
				look(name+".", inner)
			case sections[name]:
				problems = append(problems, name+": holds keys, not a value")
			case prefix == "":
				problems = append(problems, name+": unknown section")
			case !known[name]:
				problems = append(problems, name+": unknown key")
			}
		}
	}
	look("", v.AllSettings())
	slices.Sort(problems)
	return problems
}

// set puts a value of the file (typed by YAML) or of the environment (a string) into a field.
// A key without a value keeps its default.
func set(field reflect.Value, value any) error {
	if value == nil {
		return nil
	}
	text, isText := value.(string)
	switch field.Interface().(type) {
	case time.Duration:
		if d, ok := value.(time.Duration); ok {
			field.SetInt(int64(d))
			return nil
		}
		d, err := time.ParseDuration(text)
		if !isText || err != nil {
			return errors.New("must be a duration, such as 500ms, 15s or 10m")
		}
		field.SetInt(int64(d))
	case bool:
		b, ok := value.(bool)
		if isText {
			parsed, err := strconv.ParseBool(text)
			b, ok = parsed, err == nil
		}
		if !ok {
			return errors.New("must be true or false")
		}
		field.SetBool(b)
	case int:
		n, ok := value.(int)
		if isText {
			parsed, err := strconv.Atoi(text)
			n, ok = parsed, err == nil
		}
		if !ok {
			return errors.New("must be a whole number")
		}
		field.SetInt(int64(n))
	case []string:
		list, err := texts(value)
		if err != nil {
			return err
		}
		field.Set(reflect.ValueOf(list))
	default: // string and Secret
		if reflect.TypeOf(value) == field.Type() {
			field.Set(reflect.ValueOf(value))
			return nil
		}
		if !isText {
			return errors.New("must be a string (quote it)")
		}
		field.SetString(text)
	}
	return nil
}

// texts is a list: YAML's, or one text with commas between, as the environment has it.
func texts(value any) ([]string, error) {
	switch v := value.(type) {
	case []string:
		return v, nil
	case string:
		if strings.TrimSpace(v) == "" {
			return nil, nil
		}
		list := strings.Split(v, ",")
		for i := range list {
			list[i] = strings.TrimSpace(list[i])
		}
		return list, nil
	case []any:
		list := make([]string, len(v))
		for i, item := range v {
			text, ok := item.(string)
			if !ok {
				return nil, errors.New("must be a list of strings (quote them)")
			}
			list[i] = text
		}
		return list, nil
	default:
		return nil, errors.New("must be a list of strings")
	}
}

// readFile is the content of a file that key names, with an error that says so.
func readFile(key, path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return content, nil
}
