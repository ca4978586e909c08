package authsvc_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var goBlock = regexp.MustCompile("(?s)```go\n(.*?)```")

// Every program of the READMEs compiles as it stands, in a module of its own, and the protected endpoints take fewer
// than 15 lines of the reader's own code; both languages show the same programs.
func TestReadmePrograms(t *testing.T) {
	module, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string][]string{}
	for _, name := range []string{"README.md", "README.zh-CN.md"} {
		text, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range goBlock.FindAllStringSubmatch(string(text), -1) {
			blocks[name] = append(blocks[name], found[1])
		}
	}
	programs := blocks["README.md"]
	if len(programs) != 3 || strings.Join(programs, "") != strings.Join(blocks["README.zh-CN.md"], "") {
		t.Fatalf("%d programs in English, %d in Chinese, or others", len(programs), len(blocks["README.zh-CN.md"]))
	}
	folder := t.TempDir()
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sums, err := os.ReadFile(filepath.Join(module, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	write("go.sum", string(sums))
	write("go.mod", "module example.com/orders\n\ngo 1.24.0\n\nrequire github.com/authsvc/authsvc/clients/go v0.0.0\n\n"+
		"replace github.com/authsvc/authsvc/clients/go => "+module+"\n")
	for i, program := range programs {
		name := fmt.Sprintf("p%d/main.go", i)
		if strings.Contains(program, `"testing"`) {
			name = fmt.Sprintf("p%d/main_test.go", i)
		}
		write(name, program)
		if lines := ownLines(t, program); strings.Contains(name, "main.go") && lines >= 15 {
			t.Errorf("program %d has %d lines of own code", i, lines)
		}
	}
	// No network: what the module itself needs is in the module cache.
	vet := exec.Command("go", "vet", "-mod=mod", "./...")
	vet.Dir, vet.Env = folder, append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=mod", "GOWORK=off")
	if said, err := vet.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	run := exec.Command("go", "test", "-mod=mod", "./...")
	run.Dir, run.Env = folder, vet.Env
	if said, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
}

// ownLines counts the lines within functions that hold more than a comment or a closing bracket.
func ownLines(t *testing.T, program string) (count int) {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "main.go", program, 0)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(program, "\n")
	for _, declared := range file.Decls {
		if function, ok := declared.(*ast.FuncDecl); ok {
			first, last := files.Position(function.Body.Lbrace).Line, files.Position(function.Body.Rbrace).Line
			for _, line := range lines[first : last-1] {
				line = strings.Trim(strings.TrimSpace(line), "{}(),")
				if line != "" && !strings.HasPrefix(line, "//") {
					count++
				}
			}
		}
	}
	return count
}
