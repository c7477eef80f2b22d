package api

import "rollcall/presence"

// CheckPeers returns why one of the peers that a request names is none, as the code "invalid", or
// nil. How many may be named is another limit at each call.
func CheckPeers(peers []presence.PeerID) error {
	for i, p := range peers {
		if err := presence.CheckPeer(p); err != nil {
			return Errorf("invalid", "peer %d: %v", i, err)
		}
	}
	return nil
}

// PeersOf returns the peers called ids.
func PeersOf[ID ~string | ~[]byte](ids []ID) []presence.PeerID {
	peers := make([]presence.PeerID, len(ids))
	for i, id := range ids {
		peers[i] = presence.PeerID(id)
	}
	return peers
}
