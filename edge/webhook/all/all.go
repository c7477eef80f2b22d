// Package all lists the kinds of sources: one line for each.
package all

import (
	"rollcall/edge/webhook"
	"rollcall/edge/webhook/easemob"
	"rollcall/edge/webhook/emqx"
)

// Kinds are the kinds that a source may name, by name.
var Kinds = []webhook.Kind{
	easemob.Kind{},
	emqx.Kind{},
}
