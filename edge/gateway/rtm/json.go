package rtm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"rollcall/internal/plainjson"
	"rollcall/presence"
)

// plainRequest is a command as old clients write it: the fields of the command and of the session
// side by side, and enums by name. encoding/json bounds nothing by itself: a message is at most 64
// KiB here, and unknown values are not kept.
type plainRequest struct {
	Cmd          *string  `json:"cmd"`
	Op           string   `json:"op"`
	AppID        string   `json:"appId"`
	PeerID       *string  `json:"peerId"`
	I            *int32   `json:"i"`
	Installation string   `json:"installationId"`
	Service      *int32   `json:"service"`
	T            int64    `json:"t"`
	N            string   `json:"n"`
	S            string   `json:"s"`
	UA           string   `json:"ua"`
	R            truth    `json:"r"`
	Tag          string   `json:"tag"`
	DeviceID     string   `json:"deviceId"`
	DeviceToken  string   `json:"deviceToken"`
	St           string   `json:"st"`
	Asked        []string `json:"sessionPeerIds"`
}

// truth is a boolean that may be written as a number.
type truth bool

func (t *truth) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "true", "1":
		*t = true
	case "false", "0", "null":
		*t = false
	default:
		return fmt.Errorf("%q is neither true nor false", b)
	}
	return nil
}

// maxDepth bounds how deep a JSON message nests; the decoder's own bound is ten thousand.
const maxDepth = 16

func decodeJSON(b []byte, ids int) (request, error) {
	q := request{op: -1}
	if !utf8.Valid(b) || plainjson.Depth(b) > maxDepth {
		return q, fmt.Errorf("%w: no JSON of a sane shape", errUnparseable)
	}
	if bytes.Equal(bytes.TrimSpace(b), []byte("{}")) {
		q.beat = true
		return q, nil
	}
	var p plainRequest
	if err := json.Unmarshal(b, &p); err != nil {
		return q, fmt.Errorf("%w: %w", errUnparseable, err)
	}
	if p.Cmd == nil {
		return q, fmt.Errorf("%w: no cmd", errUnparseable)
	}
	q.cmd = numberOf(*p.Cmd)
	for n, name := range opNames {
		if name == p.Op {
			q.op = n
		}
	}
	if p.PeerID != nil && strings.ContainsRune(*p.PeerID, utf8.RuneError) && !bytes.ContainsRune(b, utf8.RuneError) {
		return q, fmt.Errorf("%w: a peer id with half a character, which would be read as another id", errUnparseable)
	}
	if p.PeerID != nil {
		q.peer, q.peerID = true, presence.PeerID(*p.PeerID)
	}
	if p.I != nil {
		q.i = some(int64(*p.I))
	}
	if p.Service != nil {
		q.service = some(int64(*p.Service))
	}
	q.appID, q.installation = p.AppID, p.Installation
	q.t, q.n, q.s, q.ua, q.r, q.tag = p.T, p.N, p.S, p.UA, bool(p.R), p.Tag
	q.deviceID, q.deviceToken, q.st = p.DeviceID, p.DeviceToken, p.St
	for _, id := range p.Asked[:min(len(p.Asked), ids)] {
		q.asked = append(q.asked, []byte(id))
	}
	return q, nil
}

// numberOf returns the number of a command, or one that is none.
func numberOf(name string) int32 {
	for n, c := range cmdNames {
		if c == name {
			return int32(n)
		}
	}
	return -1
}

type plainAnswer struct {
	Cmd          string    `json:"cmd"`
	Op           string    `json:"op,omitempty"`
	PeerID       string    `json:"peerId,omitempty"`
	I            *int64    `json:"i,omitempty"`
	Installation string    `json:"installationId,omitempty"`
	Service      int32     `json:"service,omitempty"`
	ServerTs     int64     `json:"serverTs,omitempty"`
	Online       *[]string `json:"onlineSessionPeerIds,omitempty"`
	St           string    `json:"st,omitempty"`
	StTTL        int32     `json:"stTtl,omitempty"`
	// Any answer that has a code is an error to the clients that speak this.
	Code   int32  `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
}

func encodeJSON(a *answer) ([]byte, error) {
	p := plainAnswer{
		Cmd: cmdNames[a.cmd], Op: opNames[a.op], PeerID: string(a.peerID), Installation: a.installation, Service: a.service,
		ServerTs: a.serverTs,
	}
	if a.i.is {
		p.I = &a.i.value
	}
	if s := a.session; s != nil {
		p.St, p.StTTL, p.Code, p.Reason = s.st, s.stTTL, s.code, s.reason
		if s.query {
			online := make([]string, len(s.online))
			for i, id := range s.online {
				online[i] = string(id)
			}
			p.Online = &online
		}
	}
	if f := a.failure; f != nil {
		p.Code, p.Reason, p.Detail = f.code, f.reason, f.detail
	}
	b, err := json.Marshal(&p)
	if err != nil {
		return nil, fmt.Errorf("write an answer: %w", err)
	}
	return b, nil
}
