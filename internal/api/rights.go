package api

// Rights are what a caller may do, as a set.
type Rights uint8

// The rights. Master and Named include Client; Hook is given on top of Client and is never implied.
const (
	None   Rights = 0
	Client Rights = 1 << 0 // what apps may ask
	Hook   Rights = 1 << 1 // report as the IM service does
	Master Rights = 1<<2 | Client
	Named  Rights = 1<<3 | Client // a client whose user token says which peer it is
)

// Has reports whether r includes all of need.
func (r Rights) Has(need Rights) bool { return r&need == need }
