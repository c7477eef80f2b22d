package rollcall_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// meanings are of the lines at the levels info and debug; the runbook has those of the others.
var meanings = map[string]string{
	"ask for the slots of the cluster":           "The node that was asked which primary has which slots did not answer; another is asked.",
	"broken request":                             "A connection sent what is no HTTP, or ended in the middle of it.",
	"cannot read maxmemory-policy":               "This Redis does not say which keys it evicts, so the warning about it is left out.",
	"certificate obtained":                       "A CA has issued the certificate of a domain of `tls.domains`; it is in force.",
	"certificate reloaded":                       "The files of the certificate were replaced, and new connections get the new one.",
	"changes sent by another node":               "A node has given up a receiver of changes, because another has taken it over.",
	"demo step failed":                           "A step of a person of `rollcall demo` was refused; the day goes on.",
	"handshake aborted":                          "A client ended its connection while it became a socket.",
	"import finished":                            "An import ended, or paused for three seconds; with its `peers`, how many of them `changed`, of how many the open sessions were `left_out` because the export is old, and with `err` why a part was refused.",
	"listener inherited":                         "systemd holds the port, and has handed it to this process.",
	"old key used":                               "A caller showed the old key of an app; once an hour for each key.",
	"owner of the recipe's keys out of reach":    "Redis did not say whose the recipe's keys are; it is asked again.",
	"proxy recommended for TLS":                  "The limits allow for so many sockets that a proxy in front would take less memory for TLS.",
	"ready":                                      "The server takes reports and answers questions; with its addresses and its store.",
	"recipe keys belong to this app again":       "What \"recipe keys belong to another app\" said is over.",
	"recipe keys taken from another app":         "`redis.recipe_app` names this app, and the keys without an app in them are its from now on.",
	"redis reachable again":                      "What \"redis unreachable\" said is over; the spool is being delivered.",
	"reconciliation of peers that turned failed": "Peers that turned offline could not be asked about; the next round does it.",
	"reconciliation recovered":                   "The product of a source answers again.",
	"reconciliation resumed":                     "A round went through all peers of a source; no alarm of its reconciliation is left.",
	"reload finished":                            "The settings were read again; with what changed and what waits for the next start.",
	"sending changes":                            "This node sends to the receiver of changes in `receiver`: at its start, or because the one before is gone.",
	"request failed":                             "A request with a `traceparent` was answered 5xx ([traces](monitoring.md)).",
	"request refused":                            "A request with a `traceparent` was answered 4xx.",
	"request was slow":                           "A request with a `traceparent` took a second or longer.",
	"spool waits":                                "What is in the spool could not be delivered now; it is tried again.",
	"store is writable again":                    "What \"store is read-only\" said is over.",
	"call record recovered":                      "What \"call record failed\" said is over.",
	"sweep recovered":                            "What \"sweep failed\" said is over.",
}

var sentenceEnd = regexp.MustCompile(`\.(?: |$)`)

// meaningOf returns what a line of the log means: of a warning or an error the first sentence of
// its section of the runbook, whose text is given.
func meaningOf(t *testing.T, message, level, text string) string {
	t.Helper()
	if level == "info" || level == "debug" {
		if meanings[message] == "" {
			t.Errorf("%q has no meaning; write it into meanings_test.go", message)
		}
		return meanings[message]
	}
	_, section, ok := strings.Cut(text, "\n## "+message+"\n\n")
	if !ok {
		t.Errorf("%q has no paragraph in %s", message, runbook)
		return ""
	}
	paragraph, _, _ := strings.Cut(section, "\n\n")
	paragraph = strings.Join(strings.Fields(paragraph), " ")
	if at := sentenceEnd.FindStringIndex(paragraph); at != nil {
		paragraph = paragraph[:at[0]+1]
	}
	return strings.ReplaceAll(paragraph, "|", `\|`)
}

// TestMeaningsAreOfLines: none is left of a line that is gone.
func TestMeaningsAreOfLines(t *testing.T) {
	found := messages(t)
	for m := range meanings {
		if level := found[m]; level != "info" && level != "debug" {
			t.Errorf("%q is explained, and no line at info or debug", m)
		}
	}
}

func readRunbook(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(runbook)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
