package docs_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const tokenSecret = "token-secret-of-the-moving-app-0000000"

// The lines of the page make tokens that the server takes, and its call is answered.
func TestUserTokens(t *testing.T) {
	for _, language := range []string{"js", "go", "php", "python", "java", "sh"} {
		if en, zh := code(t, "user-tokens.md", language), code(t, "zh/user-tokens.md", language); !slices.Equal(en, zh) {
			t.Errorf("the pages differ in their %s", language)
		}
	}
	server := startServer(t, append(slices.Clone(keys), "ROLLCALL_APP_ID="+appID, "ROLLCALL_TOKEN_SECRET="+tokenSecret, "ROLLCALL_GATE_ASK=token")...)
	url := "http://" + server.Listen
	for name, make := range map[string]func(t *testing.T) *exec.Cmd{
		"node": func(t *testing.T) *exec.Cmd { return exec.Command("node", "-e", code(t, "user-tokens.md", "js")[0]) },
		"go":   func(t *testing.T) *exec.Cmd { return exec.Command("go", "run", goProgram(t)) },
		"rollcall": func(*testing.T) *exec.Cmd {
			cmd := exec.Command(server.program, "token", "make", "--peer", "tom", "--for", "1h")
			cmd.Env = append(os.Environ(), "ROLLCALL_APP_ID="+appID, "ROLLCALL_TOKEN_SECRET="+tokenSecret)
			return cmd
		},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := make(t)
			cmd.Env = append(append(os.Environ(), cmd.Env...), "TOKEN_SECRET="+tokenSecret)
			token, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, token)
			}
			call := exec.Command("sh", "-c", code(t, "user-tokens.md", "sh")[0])
			call.Env = append(os.Environ(), "URL="+url, "APP_ID="+appID, "TOKEN="+strings.TrimSpace(string(token)))
			out, err := call.Output()
			if want := `{"peers":[{"peer":"tom","status":"unknown"},{"peer":"jerry","status":"unknown"}]}`; err != nil || strings.TrimSpace(string(out)) != want {
				t.Errorf("%v: %s, want %s", err, out, want)
			}
		})
	}
	http.DefaultClient.CloseIdleConnections()
}

// goProgram writes the lines in Go into a program and returns its file.
func goProgram(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "main.go")
	text := fmt.Sprintf("package main\n\nimport (\n\"fmt\"\n\"os\"\n\"time\"\n\n\"github.com/golang-jwt/jwt/v5\"\n)\n\nfunc main() {\n%s}\n", code(t, "user-tokens.md", "go")[0])
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
