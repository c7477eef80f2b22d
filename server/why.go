package server

import (
	"fmt"
	"strings"
)

// causeWords tell each cause in a sentence that goes on after "because".
var causeWords = map[string]string{
	"unknown":   "its source said so without a reason",
	"logout":    "the user logged out",
	"lost":      "the connection was lost",
	"kicked":    "it was kicked",
	"replaced":  "a newer login took its place",
	"expired":   "nothing more was heard of it before its lease ran out",
	"node_lost": "the node that held its socket stopped beating",
	"drained":   "the node that held its socket was shut down and it did not come back in time",
}

// why says in one sentence why p is shown as it is.
func why(p *Peer) string {
	switch p.Status {
	case "online":
		return online(p)
	case "offline":
		return fmt.Sprintf("%s is offline since %s because %s.", p.Peer, p.Since, causeWords[p.Cause])
	}
	if len(p.Reports) > 0 {
		return fmt.Sprintf("%s is unknown: what was reported of it has been forgotten or never took effect.", p.Peer)
	}
	return fmt.Sprintf("%s is unknown: nobody has reported it, or it was forgotten after being offline for long.", p.Peer)
}

func online(p *Peer) string {
	var open []string
	for _, s := range p.Sessions {
		if s.Open {
			open = append(open, "session "+s.ID+" of "+s.Source)
		}
	}
	for _, s := range p.Slots {
		if s.Open == 0 {
			continue
		}
		text := fmt.Sprintf("%d open by the hooks of %s", s.Open, s.Source)
		if s.Tag != "" {
			text += " with tag " + s.Tag
		}
		open = append(open, text)
	}
	const most = 3
	rest := ""
	if len(open) > most {
		rest = fmt.Sprintf(" and %d more", len(open)-most)
		open = open[:most]
	}
	end := "while the node that holds its socket beats"
	if p.Until != "" {
		end = "until " + p.Until + " if nothing more is heard"
	}
	return fmt.Sprintf("%s is online since %s because of %s%s, %s.", p.Peer, p.Since, strings.Join(open, ", "), rest, end)
}
