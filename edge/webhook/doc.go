// Package webhook is the door of other IM products: each calls POST /ingest/{app}/{source} when one
// of its users comes or goes, in its own format and with its own proof of origin.
//
// A [Kind] knows the format of one product; one folder holds one kind, and package all lists them.
// The [Door] does what is alike for all: it finds the source in the settings, reads the body, has
// the kind verify it before anything is parsed, hands what the kind read to intake, and has the
// kind answer once the reports are kept. A kind has no clock, no goroutine and no state.
//
// An [Auditor] is a kind whose product can be asked who is online; room reconcile decides when, and
// what follows. Its answers are read strictly: what is not clear is no answer.
package webhook
