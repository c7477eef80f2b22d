package redisstore

import (
	"hash/crc32"
	"net/url"
	"strconv"
	"strings"

	"rollcall/presence"
	"rollcall/store/redisstore/conn"
)

// buckets is how many keys an index is spread over; a peer is always in the same bucket.
const buckets = 64

// layout knows the name of every key. Foreign ids never choose where a key of ours goes: what could
// carry a hash tag of its own is put under a tag from a table instead.
type layout struct {
	own     string         // prefix of all keys that are ours alone, "rc:"
	recipe  presence.AppID // the app whose summary keys are the recipe's own
	summary string         // their prefix, "onOffStatus:"; may be empty
}

// others is the prefix of the summary keys of every app but the recipe's.
func (l *layout) others() string { return l.own + "on:" }

// summaryKey appends the summary key of a peer to b: the recipe's own, or "rc:on:<app>:<peer>" for
// another app. A peer of the recipe's app whose key would look like one of ours goes under no app
// at all.
func (l *layout) summaryKey(b []byte, app presence.AppID, peer []byte) []byte {
	if app == l.recipe && !l.collides(peer) {
		return append(append(b, l.summary...), peer...)
	}
	name := ""
	if app != l.recipe {
		name = escape(app)
	}
	b = append(append(append(b, l.others()...), name...), ':')
	return append(b, peer...)
}

func (l *layout) collides(peer []byte) bool {
	n := len(l.summary)
	if n >= len(l.own) {
		return strings.HasPrefix(l.summary, l.own)
	}
	return l.own[:n] == l.summary && strings.HasPrefix(string(peer[:min(len(peer), len(l.own)-n)]), l.own[n:])
}

// peerOf returns the peer whose summary key is given; ok is false for a key that is none.
func (l *layout) peerOf(summary string) (key presence.Key, ok bool) {
	if rest, found := strings.CutPrefix(summary, l.others()); found {
		return l.memberPeer(rest) // written alike
	}
	if strings.HasPrefix(summary, l.own) {
		return key, false
	}
	peer, found := strings.CutPrefix(summary, l.summary)
	return presence.Key{App: l.recipe, Peer: presence.PeerID(peer)}, found
}

// stateKey returns the key of the packed state that lies in the slot of the summary key: its hash
// tag is the whole summary key, or, when braces in that would make another tag of it, a tag of the
// same slot.
func (l *layout) stateKey(summary string) string {
	if summary == "" || strings.ContainsAny(summary, "{}") {
		return l.own + "{" + conn.TagOf(conn.SlotOf(summary)) + "}:s:" + summary
	}
	return l.own + "{" + summary + "}:s"
}

// peerKeys returns the summary keys and the state keys of the chosen ids. The usual ones are cut
// from one string, in which the summary key stands inside the state key: one allocation instead of
// two for each id.
func (l *layout) peerKeys(app presence.AppID, ids [][]byte, chosen []int) (summaries, states []string) {
	summaries, states = make([]string, len(chosen)), make([]string, len(chosen))
	size := 0
	for _, i := range chosen {
		size += len(ids[i]) + len(l.own) + len(l.summary) + len("{}:s")
	}
	buf := make([]byte, 0, size)
	ends := make([]int, len(chosen))
	for k, i := range chosen {
		buf = append(append(buf, l.own...), '{')
		buf = l.summaryKey(buf, app, ids[i])
		buf = append(buf, "}:s"...)
		ends[k] = len(buf)
	}
	all, from := string(buf), 0
	for k, end := range ends {
		states[k] = all[from:end]
		summaries[k] = all[from+len(l.own)+1 : end-len("}:s")]
		if summaries[k] == "" || strings.ContainsAny(summaries[k], "{}") {
			states[k] = l.stateKey(summaries[k])
		}
		from = end
	}
	return summaries, states
}

// member returns how an index names a peer.
func (l *layout) member(key presence.Key) string {
	if key.App == l.recipe {
		return ":" + string(key.Peer)
	}
	return escape(key.App) + ":" + string(key.Peer)
}

// memberPeer undoes member.
func (l *layout) memberPeer(member string) (key presence.Key, ok bool) {
	name, peer, found := strings.Cut(member, ":")
	if !found {
		return key, false
	}
	app := l.recipe
	if name != "" {
		if app, ok = unescape(name); !ok {
			return key, false
		}
	}
	return presence.Key{App: app, Peer: presence.PeerID(peer)}, true
}

// bucketOf spreads peers over the keys of an index. It is part of the layout: every node must
// agree.
func bucketOf(member string) int { return int(crc32.ChecksumIEEE([]byte(member)) % buckets) }

func (l *layout) leaseIndex(bucket int) string { return l.own + "lease:" + strconv.Itoa(bucket) }

func (l *layout) nodeIndex(node presence.NodeID, bucket int) string {
	return l.own + "node:" + escape(node) + ":" + strconv.Itoa(bucket)
}

func (l *layout) nodes() string { return l.own + "nodes" }
func (l *layout) epoch() string { return l.own + "epoch" }

func (l *layout) reap(node presence.NodeID, bucket int) string {
	return l.own + "reap:" + escape(node) + ":" + strconv.Itoa(bucket)
}

func (l *layout) claim(name string) string { return l.own + "claim:" + escape(name) }

func (l *layout) probes() string { return l.own + "probe:" }

func (l *layout) probe(slot uint16, node string) string {
	return l.probes() + "{" + conn.TagOf(slot) + "}:" + node
}

// noName stands for the empty name; escape makes it of nothing else. Where an app may stand,
// nothing at all means the recipe's.
const noName = "%"

// escape makes a name free of what our keys are built from.
func escape[T ~string](name T) string {
	if name == "" {
		return noName
	}
	return url.QueryEscape(string(name))
}

func unescape(name string) (presence.AppID, bool) {
	if name == noName {
		return "", true
	}
	s, err := url.QueryUnescape(name)
	return presence.AppID(s), err == nil
}

// prefixes are what a link listens to; none stands for everything. Redis refuses prefixes of which
// one covers another.
func (l *layout) prefixes() []string {
	all := []string{l.summary, l.others(), l.probes()}
	var list []string
	for i, p := range all {
		covered := false
		for j, q := range all {
			covered = covered || i != j && strings.HasPrefix(p, q) && (p != q || j < i)
		}
		if !covered {
			list = append(list, p)
		}
	}
	if len(list) == 1 && list[0] == "" {
		return nil
	}
	return list
}
