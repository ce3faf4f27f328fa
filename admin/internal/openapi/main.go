// Command openapi writes admin/openapi.json, the description of the Admin API: out of
// what package admin says of its routes, and the comments on the structs of its bodies.
// make generate runs it at the root of the repository.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"aisix/admin"
)

func main() {
	document, err := write(".")
	if err == nil {
		err = os.WriteFile(filepath.Join("admin", "openapi.json"), document, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1)
	}
}

// write is the document, of the repository at root.
func write(root string) ([]byte, error) {
	said := map[string]string{}
	for _, dir := range []string{"admin", "admin/resource"} {
		if err := read(filepath.Join(root, dir), said); err != nil {
			return nil, err
		}
	}
	text, err := admin.Document(func(name string) string { return said[name] })
	if err != nil {
		return nil, err
	}
	return append(layout(bytes.TrimSpace(text), 0), '\n'), nil
}

// read finds what is said of the structs of a package and of their fields, by
// "package.Struct" and "package.Struct.Field".
func read(dir string, said map[string]string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		for _, declared := range parsed.Decls {
			types, ok := declared.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range types.Specs {
				if t, ok := spec.(*ast.TypeSpec); ok {
					readType(parsed.Name.Name+"."+t.Name.Name, t, types.Doc.Text(), said)
				}
			}
		}
	}
	return nil
}

func readType(path string, t *ast.TypeSpec, doc string, said map[string]string) {
	fields, ok := t.Type.(*ast.StructType)
	if !ok {
		return
	}
	// "Cost is US dollars." says "US dollars."
	if text, ok := strings.CutPrefix(paragraph(doc), t.Name.Name+" is "); ok {
		said[path] = strings.ToUpper(text[:1]) + text[1:]
	}
	for _, f := range fields.Fields.List {
		for _, name := range f.Names {
			said[path+"."+name.Name] = paragraph(f.Doc.Text())
		}
	}
}

// paragraph is the first one of a comment, in one line.
func paragraph(comment string) string {
	first, _, _ := strings.Cut(comment, "\n\n")
	return strings.Join(strings.Fields(first), " ")
}

// layout writes JSON for people: what has room in a line stands in one.
func layout(value json.RawMessage, depth int) []byte {
	if line := inLine(value); len(line)+2*depth < 140 {
		return line
	}
	indent := "\n" + strings.Repeat("  ", depth+1)
	out := []byte{value[0]}
	each(value, func(i int, name []byte, item json.RawMessage) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(out, indent...), name...)
		out = append(out, layout(item, depth+1)...)
	})
	if len(out) == 1 { // a text that is too long for a line
		return value
	}
	return append(append(out, indent[:len(indent)-2]...), value[len(value)-1])
}

func inLine(value json.RawMessage) []byte {
	if value[0] != '{' && value[0] != '[' {
		return value
	}
	out := []byte{value[0]}
	each(value, func(i int, name []byte, item json.RawMessage) {
		if i > 0 {
			out = append(out, ", "...)
		}
		out = append(append(out, name...), inLine(item)...)
	})
	return append(out, value[len(value)-1])
}

// each gives the items of an array or the members of an object, with `"name": `.
func each(value json.RawMessage, do func(i int, name []byte, item json.RawMessage)) {
	if value[0] != '{' && value[0] != '[' {
		return
	}
	d := json.NewDecoder(bytes.NewReader(value))
	d.Token()
	for i := 0; d.More(); i++ {
		var name []byte
		if value[0] == '{' {
			token, _ := d.Token() // of JSON that was just written
			name = strconv.AppendQuote(nil, token.(string))
			name = append(name, ": "...)
		}
		var item json.RawMessage
		d.Decode(&item)
		do(i, name, item)
	}
}
