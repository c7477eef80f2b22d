package check

// The headings of docs/check.md, one for each kind of failure.
const (
	cureConnect   = "no-connection"
	cureTLS       = "the-certificate"
	cureOldTLS    = "old-tls"
	cureKeys      = "keys"
	curePaths     = "paths"
	cureRedirects = "redirects"
	cureBodies    = "bodies"
	cureHooks     = "hooks"
	cureAddress   = "the-address-of-clients"
	cureClock     = "clocks"
	cureRoute     = "the-route"
	cureUpgrade   = "upgrades"
	cureBuffering = "buffering"
	cureCut       = "cut-connections"
	cureNoAnswer  = "no-answer"
	cureProbe     = "the-probe"
)
